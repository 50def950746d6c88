/* The peer of the benchmark suite: an arithmetic Asian call priced by Monte Carlo in C, as fast as gcc makes it.
 *
 * The same mathematics as the kernel `monte-carlo`: Philox4x32-10 (Salmon, Moraes, Dror and Shaw 2011) with the
 * counter [path low, path high, step / 4, 0], uniforms (w + 0.5) * 2^-32, two normals from two words (Box and Muller
 * 1958), geometric Brownian motion observed at every step but the first date.
 *
 * Built with -Ofast -march=native -mprefer-vector-width=512 -fopenmp: every loop over LANES is written so that gcc
 * turns it into vector code, and calls libmvec for log, sin, cos and exp. Sine and cosine stand in loops of their own,
 * since gcc joins a pair over one argument into a scalar call. With -DINTRINSICS (AVX-512 only) it is `asian_expert`.
 *
 * Usage: asian_fast [PATHS [STEPS [SEED]]]      threads: OMP_NUM_THREADS
 */
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#ifdef INTRINSICS
#include <immintrin.h>
#endif

enum { LANES = 64 };

static const double SPOT = 100.0, STRIKE = 100.0, RATE = 0.05, SIGMA = 0.2, YEARS = 1.0;

/* Uniforms from the four words of LANES consecutive paths. The words live in 64-bit lanes, where a product of 32 by 32
 * bits fits. gcc 12 multiplies all 64 bits there, three times as slow as the 32 by 32 bits that are needed;
 * -DINTRINSICS says it in Intel's words instead, which is what an expert on one machine would do. */
#ifdef INTRINSICS
static inline void philox(uint64_t path, uint32_t group, uint64_t seed, double u[4][LANES])
{
    const __m512i m0 = _mm512_set1_epi64(0xD2511F53), m1 = _mm512_set1_epi64(0xCD9E8D57);
    const __m512i low = _mm512_set1_epi64(0xFFFFFFFF), index = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
    const __m512d scale = _mm512_set1_pd(0x1p-32), half = _mm512_set1_pd(0x1p-33);
    for (int i = 0; i < LANES; i += 8) {
        const __m512i paths = _mm512_add_epi64(_mm512_set1_epi64((long long)path + i), index);
        __m512i w[4] = {paths, _mm512_srli_epi64(paths, 32), _mm512_set1_epi64(group), _mm512_setzero_si512()};
        uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
#pragma GCC unroll 10
        for (int round = 0; round < 10; round++) {
            /* Only the low half of a lane is multiplied, so the high halves may hold anything. */
            const __m512i p = _mm512_mul_epu32(w[0], m0), q = _mm512_mul_epu32(w[2], m1);
            w[0] = _mm512_xor_si512(_mm512_srli_epi64(q, 32), _mm512_xor_si512(w[1], _mm512_set1_epi64(k0)));
            w[2] = _mm512_xor_si512(_mm512_srli_epi64(p, 32), _mm512_xor_si512(w[3], _mm512_set1_epi64(k1)));
            w[1] = q;
            w[3] = p;
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        for (int k = 0; k < 4; k++) {
            const __m512d word = _mm512_cvtepi64_pd(_mm512_and_si512(w[k], low));
            _mm512_storeu_pd(&u[k][i], _mm512_fmadd_pd(word, scale, half));
        }
    }
}
#else
static inline void philox(uint64_t path, uint32_t group, uint64_t seed, double u[4][LANES])
{
    for (int i = 0; i < LANES; i++) {
        const uint64_t low = 0xFFFFFFFF;
        uint64_t a = (path + i) & low, b = (path + i) >> 32, c = group, d = 0;
        uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
#pragma GCC unroll 10
        for (int round = 0; round < 10; round++) {
            const uint64_t p = a * 0xD2511F53u, q = c * 0xCD9E8D57u;
            a = (q >> 32) ^ b ^ k0;
            c = (p >> 32) ^ d ^ k1;
            b = q & low;
            d = p & low;
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        /* Signed, because that conversion is one instruction. */
        u[0][i] = ((double)(int64_t)a + 0.5) * 0x1p-32;
        u[1][i] = ((double)(int64_t)b + 0.5) * 0x1p-32;
        u[2][i] = ((double)(int64_t)c + 0.5) * 0x1p-32;
        u[3][i] = ((double)(int64_t)d + 0.5) * 0x1p-32;
    }
}
#endif

static inline void box_muller(const double u1[LANES], const double u2[LANES], double z1[LANES], double z2[LANES])
{
    double radius[LANES], angle[LANES];
    for (int i = 0; i < LANES; i++)
        radius[i] = sqrt(-2.0 * log(u1[i]));
    for (int i = 0; i < LANES; i++)
        angle[i] = 2.0 * M_PI * u2[i];
    for (int i = 0; i < LANES; i++)
        z1[i] = radius[i] * cos(angle[i]);
    for (int i = 0; i < LANES; i++)
        z2[i] = radius[i] * sin(angle[i]);
}

/* The sums over the steps of the price of LANES paths, the first of which is `path`. */
static inline void walk(uint64_t path, int steps, uint64_t seed, double sum[LANES])
{
    const double dt = YEARS / steps, drift = (RATE - 0.5 * SIGMA * SIGMA) * dt, shock = SIGMA * sqrt(dt);
    double u[4][LANES], z[4][LANES], x[LANES];
    for (int i = 0; i < LANES; i++) {
        x[i] = 0.0;
        sum[i] = 0.0;
    }
    for (int step = 0; step < steps; step += 4) {
        philox(path, (uint32_t)(step / 4), seed, u);
        box_muller(u[0], u[1], z[0], z[1]);
        box_muller(u[2], u[3], z[2], z[3]);
        for (int k = 0; k < 4 && step + k < steps; k++)
            for (int i = 0; i < LANES; i++) {
                x[i] += drift + shock * z[k][i];
                sum[i] += exp(x[i]);
            }
    }
}

int main(int argc, char **argv)
{
    const int64_t paths = argc > 1 ? (int64_t)atof(argv[1]) : 1000000;
    const int steps = argc > 2 ? atoi(argv[2]) : 252;
    const uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 0) : 1;
    if (paths < 2 || steps < 1) {
        fprintf(stderr, "asian_fast: PATHS must be 2 or more and STEPS 1 or more\n");
        return 2;
    }
    const double discount = exp(-RATE * YEARS);
    double total = 0.0, squares = 0.0;
    int threads = 1;
#pragma omp parallel /* the team of threads is made before the clock starts */
    threads = omp_get_num_threads();

    const double start = omp_get_wtime();
#pragma omp parallel for schedule(dynamic, 64) reduction(+ : total, squares)
    for (int64_t batch = 0; batch < (paths + LANES - 1) / LANES; batch++) {
        double sum[LANES];
        walk((uint64_t)batch * LANES, steps, seed, sum);
        const int64_t left = paths - batch * LANES;
        const int count = left < LANES ? (int)left : LANES;
        for (int i = 0; i < count; i++) {
            const double payoff = discount * fmax(SPOT * sum[i] / steps - STRIKE, 0.0);
            total += payoff;
            squares += payoff * payoff;
        }
    }
    const double seconds = omp_get_wtime() - start;

    const double mean = total / paths, variance = (squares - total * mean) / (paths - 1.0);
    printf("{\"price\":%.9f,\"standard_error\":%.9f,\"seconds\":%.6f,\"path_steps_per_second\":%.6e,\"threads\":%d}\n",
           mean, sqrt(variance / paths), seconds, (double)paths * steps / seconds, threads);
    return 0;
}
