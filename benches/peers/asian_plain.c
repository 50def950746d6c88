/* The peer of the benchmark suite that anyone would write: an arithmetic Asian call priced by Monte Carlo in plain C,
 * one path at a time, the loop over paths given to OpenMP.
 *
 * The same mathematics as the kernel `monte-carlo`: Philox4x32-10 (Salmon, Moraes, Dror and Shaw 2011) with the
 * counter [path low, path high, step / 4, 0], uniforms (w + 0.5) * 2^-32, two normals from two words (Box and Muller
 * 1958), geometric Brownian motion observed at every step but the first date.
 *
 * Built with -O3 -march=native -fopenmp, without -ffast-math.
 *
 * Usage: asian_plain [PATHS [STEPS [SEED]]]      threads: OMP_NUM_THREADS
 */
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static const double SPOT = 100.0, STRIKE = 100.0, RATE = 0.05, SIGMA = 0.2, YEARS = 1.0;

static void philox(uint64_t path, uint32_t group, uint64_t seed, uint32_t word[4])
{
    uint32_t a = (uint32_t)path, b = (uint32_t)(path >> 32), c = group, d = 0;
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p = (uint64_t)a * 0xD2511F53u, q = (uint64_t)c * 0xCD9E8D57u;
        a = (uint32_t)(q >> 32) ^ b ^ k0;
        b = (uint32_t)q;
        c = (uint32_t)(p >> 32) ^ d ^ k1;
        d = (uint32_t)p;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    word[0] = a;
    word[1] = b;
    word[2] = c;
    word[3] = d;
}

static double uniform(uint32_t word)
{
    return (word + 0.5) * 0x1p-32;
}

static double payoff(uint64_t path, int steps, uint64_t seed)
{
    const double dt = YEARS / steps, drift = (RATE - 0.5 * SIGMA * SIGMA) * dt, shock = SIGMA * sqrt(dt);
    double price = SPOT, sum = 0.0;
    for (int step = 0; step < steps; step += 4) {
        uint32_t word[4];
        double z[4];
        philox(path, (uint32_t)(step / 4), seed, word);
        for (int k = 0; k < 4; k += 2) {
            const double radius = sqrt(-2.0 * log(uniform(word[k]))), angle = 2.0 * M_PI * uniform(word[k + 1]);
            z[k] = radius * cos(angle);
            z[k + 1] = radius * sin(angle);
        }
        for (int k = 0; k < 4 && step + k < steps; k++) {
            price *= exp(drift + shock * z[k]);
            sum += price;
        }
    }
    return exp(-RATE * YEARS) * fmax(sum / steps - STRIKE, 0.0);
}

int main(int argc, char **argv)
{
    const int64_t paths = argc > 1 ? (int64_t)atof(argv[1]) : 1000000;
    const int steps = argc > 2 ? atoi(argv[2]) : 252;
    const uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 0) : 1;
    if (paths < 2 || steps < 1) {
        fprintf(stderr, "asian_plain: PATHS must be 2 or more and STEPS 1 or more\n");
        return 2;
    }
    double total = 0.0, squares = 0.0;
    int threads = 1;
#pragma omp parallel /* the team of threads is made before the clock starts */
    threads = omp_get_num_threads();

    const double start = omp_get_wtime();
#pragma omp parallel for schedule(dynamic, 4096) reduction(+ : total, squares)
    for (int64_t path = 0; path < paths; path++) {
        const double value = payoff((uint64_t)path, steps, seed);
        total += value;
        squares += value * value;
    }
    const double seconds = omp_get_wtime() - start;

    const double mean = total / paths, variance = (squares - total * mean) / (paths - 1.0);
    printf("{\"price\":%.9f,\"standard_error\":%.9f,\"seconds\":%.6f,\"path_steps_per_second\":%.6e,\"threads\":%d}\n",
           mean, sqrt(variance / paths), seconds, (double)paths * steps / seconds, threads);
    return 0;
}
