// Embeddings and their gradient.

// x[row] = table[token] (+ positions[row mod T])
extern "C" __global__ void __launch_bounds__(256) embedding(Embedding k) {
    u32 run, i;
    u32 count = k.rows * k.width;
    if (!has_elements(k.active, count, run, i)) return;
    const u32* tokens = words_of(k.tokens, run);
    Four x;
    u32 row = i / k.width, j = i % k.width;
    if (k.width % 4 == 0) {
        // All of one row.
        x = four(of(k.table, run) + (u64)tokens[row] * k.width, j, k.width);
        if (k.positions.at) {
            Four position = four(of(k.positions, run) + (u64)(row % k.sequence) * k.width, j, k.width);
            for (u32 e = 0; e < 4; e++) x.at[e] = add(x.at[e], position.at[e]);
        }
    } else {
        for (u32 e = 0; e < 4 && i + e < count; e++, j++) {
            if (j == k.width) row++, j = 0;
            x.at[e] = of(k.table, run)[(u64)tokens[row] * k.width + j];
            if (k.positions.at) x.at[e] = add(x.at[e], of(k.positions, run)[(u64)(row % k.sequence) * k.width + j]);
        }
    }
    put(of(k.x, run), i, count, x);
}

#define COLUMNS_PER_LANE 4u

// dtable[token] = the sum of dx over the token's rows in their order: a warp an entry of the table and 128 columns. The
// warp looks at 32 tokens at a time and adds the rows whose token is its own.
extern "C" __global__ void __launch_bounds__(128) embedding_backward(EmbeddingBackward k) {
    u32 run, entry, lane;
    if (!has_row(k.active, k.vocab, run, entry, lane)) return;
    const u32* tokens = words_of(k.tokens, run);
    u32 first_column = blockIdx.y * COLUMNS_PER_LANE * LANES + lane;
    const float* dx = of(k.dx, run) + first_column;
    float sums[COLUMNS_PER_LANE] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (u32 first = 0; first < k.rows; first += LANES) {
        bool own = first + lane < k.rows && tokens[first + lane] == entry;
        for (u32 hits = __ballot_sync(ALL_LANES, own); hits; hits &= hits - 1) {
            u64 row = first + (u32)__ffs(hits) - 1;
            for (u32 c = 0; c < COLUMNS_PER_LANE; c++) {
                if (first_column + c * LANES < k.width) sums[c] = add(sums[c], dx[row * k.width + c * LANES]);
            }
        }
    }
    float* dtable = of(k.dtable, run) + (u64)entry * k.width + first_column;
    for (u32 c = 0; c < COLUMNS_PER_LANE; c++) {
        if (first_column + c * LANES < k.width) dtable[c * LANES] = sums[c];
    }
}
