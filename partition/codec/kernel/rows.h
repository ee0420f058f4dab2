/* One row to levels and back, for one instruction set: kernel.c includes this file once for each.
 *
 * Set by kernel.c: NAME(x), a name of its own for each function; TARGET, the functions'
 * instruction set; WIDTH floats in a vec; LOAD, LEAST, MOST of vecs; SPOILT(seen, v), `seen` or NaN
 * in each lane where v is NaN, and JOIN of two of these; optionally STEP, for which NAME(step) finds
 * that many levels at once (compilers differ by 3 times in how they narrow int32 to uint8).
 */

#define INLINE TARGET static inline __attribute__((always_inline))

/* Minimum and maximum of a row; 0 when a value is NaN or infinite. */
INLINE int NAME(row_range)(const float *row, size_t n, float *low_out, float *high_out)
{
    float lows[WIDTH], highs[WIDTH], nans[WIDTH];
    float first[WIDTH] = {0};
    size_t i = 0;
    if (n < WIDTH)
        for (size_t k = 0; k < WIDTH; k++)
            first[k] = row[k < n ? k : 0];
    vec low = LOAD(n < WIDTH ? first : row), high = low, spoilt = SPOILT(low, low);
    if (n >= 8 * WIDTH) { /* four of each: one would wait for its own last result */
        vec low1 = low, low2 = low, low3 = low, high1 = high, high2 = high, high3 = high;
        vec spoilt1 = spoilt;
        for (; i + 4 * WIDTH <= n; i += 4 * WIDTH) {
            vec a = LOAD(row + i), b = LOAD(row + i + WIDTH);
            vec c = LOAD(row + i + 2 * WIDTH), d = LOAD(row + i + 3 * WIDTH);
            low = LEAST(a, low), high = MOST(a, high), spoilt = SPOILT(spoilt, a);
            low1 = LEAST(b, low1), high1 = MOST(b, high1), spoilt1 = SPOILT(spoilt1, b);
            low2 = LEAST(c, low2), high2 = MOST(c, high2), spoilt = SPOILT(spoilt, c);
            low3 = LEAST(d, low3), high3 = MOST(d, high3), spoilt1 = SPOILT(spoilt1, d);
        }
        low = LEAST(LEAST(low, low1), LEAST(low2, low3));
        high = MOST(MOST(high, high1), MOST(high2, high3));
        spoilt = JOIN(spoilt, spoilt1);
    }
    for (; i + WIDTH <= n; i += WIDTH) {
        vec a = LOAD(row + i);
        low = LEAST(a, low), high = MOST(a, high), spoilt = SPOILT(spoilt, a);
    }
    if (n > WIDTH) { /* the last values, some of them seen already */
        vec a = LOAD(row + n - WIDTH);
        low = LEAST(a, low), high = MOST(a, high), spoilt = SPOILT(spoilt, a);
    }
    memcpy(lows, &low, sizeof lows);
    memcpy(highs, &high, sizeof highs);
    memcpy(nans, &spoilt, sizeof nans);
    int bad = 0;
    for (int k = 0; k < WIDTH; k++) {
        bad |= nans[k] != nans[k];
        lows[0] = lows[k] < lows[0] ? lows[k] : lows[0];
        highs[0] = highs[k] > highs[0] ? highs[k] : highs[0];
    }
    *low_out = lows[0];
    *high_out = highs[0];
    return !bad && is_finite(lows[0]) && is_finite(highs[0]);
}

INLINE void NAME(to_levels)(const float *row, size_t n, float zero, float per_level, uint8_t *out)
{
    size_t i = 0;
#ifdef STEP
    for (; i + STEP <= n; i += STEP)
        NAME(step)(row + i, zero, per_level, out + i);
#endif
    for (; i < n; i++)
        out[i] = (uint8_t)(int32_t)((row[i] - zero) * per_level + 0.5f);
}

INLINE void NAME(from_levels)(const uint8_t *levels, size_t n, float scale, float zero, float *row)
{
    for (size_t i = 0; i < n; i++)
        row[i] = (float)(int32_t)levels[i] * scale + zero;
}

INLINE void NAME(pack_row)(const float *row, size_t n, float zero, float per_level, uint8_t *out)
{
    uint8_t levels[CHUNK];
    for (size_t i = 0; i < n; i += CHUNK) {
        size_t size = n - i < CHUNK ? n - i : CHUNK;
        if (size & 1)
            levels[size] = 0; /* the empty half of the last byte */
        NAME(to_levels)(row + i, size, zero, per_level, levels);
        for (size_t j = 0; j < (size + 1) / 2; j++)
            out[i / 2 + j] = (uint8_t)(levels[2 * j] | levels[2 * j + 1] << 4);
    }
}

INLINE void NAME(unpack_row)(const uint8_t *packed, size_t n, float scale, float zero, float *row)
{
    uint8_t levels[CHUNK];
    for (size_t i = 0; i < n; i += CHUNK) {
        size_t size = n - i < CHUNK ? n - i : CHUNK;
        for (size_t j = 0; j < (size + 1) / 2; j++) {
            levels[2 * j] = packed[i / 2 + j] & 15;
            levels[2 * j + 1] = packed[i / 2 + j] >> 4;
        }
        NAME(from_levels)(levels, size, scale, zero, row + i);
    }
}

TARGET static int NAME(quantise)(QUANTISE_ARGUMENTS)
{
    const float top = (float)((1 << bits) - 1);
    const size_t row_bytes = (n * (size_t)bits + 7) / 8;
    for (size_t r = 0; r < n_rows; r++) {
        const float *row = values + (rows ? (size_t)rows[r] : r) * n;
        uint8_t *out = payload + r * row_bytes;
        float zero, high;
        if (!NAME(row_range)(row, n, &zero, &high))
            return 1;
        float scale = (high - zero) / top;
        if (!is_finite(scale * top + zero))
            return 1;
        if (scale < SMALLEST_NORMAL)
            scale = 0;
        float per_level = scale > 0 ? 1 / scale : 0;
        if (bits == 8)
            NAME(to_levels)(row, n, zero, per_level, out);
        else
            NAME(pack_row)(row, n, zero, per_level, out);
        scale_out[r] = scale;
        zero_out[r] = zero;
    }
    return 0;
}

TARGET static void NAME(dequantise)(DEQUANTISE_ARGUMENTS)
{
    const size_t row_bytes = (n * (size_t)bits + 7) / 8;
    for (size_t r = 0; r < n_rows; r++) {
        const uint8_t *levels = payload + r * row_bytes;
        float *row = out + (rows ? (size_t)rows[r] : r) * n;
        if (bits == 8)
            NAME(from_levels)(levels, n, scale[r], zero[r], row);
        else
            NAME(unpack_row)(levels, n, scale[r], zero[r], row);
    }
}

#undef INLINE
