// Paths of an arithmetic Asian option under geometric Brownian motion (of a European one, whose only date is its
// expiry), in f32; their payoffs are summed in f64.
//
// Path p draws with the Philox counters (p, group, stream), as on a CPU: the same normal numbers up to rounding, so that
// both prices differ by rounding alone. Thread t of CUDA block b has the paths b * TILE + round * 2 * THREADS + t and
// THREADS beyond it, for each of the ROUNDS rounds, and every CUDA block writes its own two sums. Nothing here depends on
// how many multiprocessors a card has, sums have one order, and a product and a sum are contracted where fmaf is written
// and nowhere else (--fmad=false): the bits depend on the architecture alone, by way of its approximate instructions.

#define THREADS 256
#define ROUNDS 4
#define TILE (2 * THREADS * ROUNDS)

struct Asian {
    unsigned int key[20];      // Philox keys of the ten rounds, two and two
    unsigned long long first;  // the first path
    unsigned long long end;    // one past the last path
    double spot_per_date;      // spot / dates
    double strike;
    double sign;               // 1 for a call, -1 for a put
    double discount;
    double pivot;              // deviations from it are summed: squares of large values would swallow a small variance
    float drift;               // of one step, of the binary logarithm of the price
    float spread;              // of one step, likewise; negative or positive
    unsigned int steps;
    unsigned int stream;
};

__device__ __forceinline__ float lg2(float x) {
    float y;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ float ex2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ float rsqrt_of(float x) {
    float y;
    asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ float sine(float x) {
    float y;
    asm("sin.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ float cosine(float x) {
    float y;
    asm("cos.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// The four words of a counter (Salmon, Moraes, Dror, Shaw 2011).
__device__ __forceinline__ uint4 philox(const Asian& a, unsigned long long path, unsigned int group) {
    unsigned int c0 = (unsigned int)path, c1 = (unsigned int)(path >> 32), c2 = group, c3 = a.stream;
#pragma unroll
    for (int i = 0; i < 10; i++) {
        unsigned long long p0 = 0xd2511f53ull * c0, p1 = 0xcd9e8d57ull * c2;
        unsigned int x = (unsigned int)(p1 >> 32) ^ c1 ^ a.key[2 * i];
        unsigned int y = (unsigned int)(p0 >> 32) ^ c3 ^ a.key[2 * i + 1];
        c0 = x, c1 = (unsigned int)p1, c2 = y, c3 = (unsigned int)p0;
    }
    return make_uint4(c0, c1, c2, c3);
}

// What two steps add to the logarithm: normal numbers (Box and Muller 1958) times the spread, and the drift. Words stand
// for the middles of their cells. The largest words round to 1, and the logarithm of what is just below may come out as
// 0 or more: the floor keeps the radius a number.
__device__ __forceinline__ float2 moves(const Asian& a, unsigned int w0, unsigned int w1) {
    float u = fmaf((float)w0, 2.3283064e-10f, 1.1641532e-10f);
    float square = fmaxf(-1.3862944f * lg2(u), 1e-30f);
    float radius = square * rsqrt_of(square) * a.spread;
    float angle = fmaf((float)(int)w1, 1.4629181e-9f, 7.3145904e-10f);
    return make_float2(fmaf(radius, cosine(angle), a.drift), fmaf(radius, sine(angle), a.drift));
}

// Walks one price over `now` of the four steps that a counter is good for; returns the sum of prices over spot.
template <int NOW>
__device__ __forceinline__ float walk(const Asian& a, unsigned long long path, unsigned int group, float& price) {
    uint4 w = philox(a, path, group);
    float2 m = moves(a, w.x, w.y);
    price += m.x;
    float sum = ex2(price);
    if (NOW > 1) {
        price += m.y;
        sum += ex2(price);
    }
    if (NOW > 2) {
        m = moves(a, w.z, w.w);
        price += m.x;
        sum += ex2(price);
    }
    if (NOW > 3) {
        price += m.y;
        sum += ex2(price);
    }
    return sum;
}

// What a path adds to the two sums.
__device__ __forceinline__ void pay(const Asian& a, float seen, double& sum, double& square) {
    double gain = a.sign * (a.spot_per_date * (double)seen - a.strike);
    double apart = a.discount * (gain > 0.0 ? gain : 0.0) - a.pivot;
    sum += apart;
    square = fma(apart, apart, square);
}

// Adds one number of each thread of the CUDA block, neighbours at a distance of 16, 8, 4, 2, 1, then the warps in order.
__device__ double total(double x, double* warps) {
    for (int apart = 16; apart > 0; apart /= 2) {
        x += __shfl_down_sync(0xffffffffu, x, apart);
    }
    if (threadIdx.x % 32 == 0) {
        warps[threadIdx.x / 32] = x;
    }
    __syncthreads();
    double sum = 0.0;
    for (int i = 0; i < THREADS / 32; i++) {
        sum += warps[i];
    }
    __syncthreads();
    return sum;
}

extern "C" __global__ void __launch_bounds__(THREADS) asian(const __grid_constant__ Asian a, double2* out) {
    __shared__ double warps[THREADS / 32];
    double sum = 0.0, square = 0.0;
    unsigned int groups = a.steps / 4, rest = a.steps % 4;
    for (int round = 0; round < ROUNDS; round++) {
        unsigned long long path = a.first + (unsigned long long)blockIdx.x * TILE + round * 2 * THREADS + threadIdx.x;
        if (path >= a.end) {
            break;
        }
        unsigned long long other = path + THREADS;
        float price = 0.0f, seen = 0.0f, other_price = 0.0f, other_seen = 0.0f;
        for (unsigned int group = 0; group < groups; group++) {
            seen += walk<4>(a, path, group, price);
            other_seen += walk<4>(a, other, group, other_price);
        }
        if (rest == 1) {
            seen += walk<1>(a, path, groups, price);
            other_seen += walk<1>(a, other, groups, other_price);
        } else if (rest == 2) {
            seen += walk<2>(a, path, groups, price);
            other_seen += walk<2>(a, other, groups, other_price);
        } else if (rest == 3) {
            seen += walk<3>(a, path, groups, price);
            other_seen += walk<3>(a, other, groups, other_price);
        }
        pay(a, seen, sum, square);
        if (other < a.end) {
            pay(a, other_seen, sum, square);
        }
    }
    sum = total(sum, warps);
    square = total(square, warps);
    if (threadIdx.x == 0) {
        out[blockIdx.x] = make_double2(sum, square);
    }
}
