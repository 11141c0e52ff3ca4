#include "isthmus/batches/negatives.hpp"

#include <algorithm>

namespace isthmus {

namespace {

// Words are drawn at positions 0, 1, 2, ..., all four of each, strip by strip: the first words of a
// strip, then the second ones, and so on.
constexpr index_t kPositions = 16;
constexpr index_t kStrips = 2;  // drawn at once

// Inserts `wanted` items below `limit` that were not there.
void insert_some(const Philox& draw, std::uint32_t row, index_t limit, index_t wanted,
                 ItemSet& chosen) {
    std::uint32_t words[kStrips * 4 * kPositions];
    for (std::uint32_t first = 0; wanted > 0; first += kStrips * kPositions) {
        draw.all_words(row, first, kStrips * kPositions, words);
        for (index_t run = 0; run < kStrips * 4; ++run) {
            const index_t strip = run / 4, word = run % 4;
            const std::uint32_t* drawn = words + (word * kStrips + strip) * kPositions;
            for (index_t i = 0; i < kPositions && wanted > 0; ++i) {
                const std::uint64_t item = drawn[i] * static_cast<std::uint64_t>(limit) >> 32;
                wanted -= chosen.insert(static_cast<std::int32_t>(item)) ? 1 : 0;
            }
        }
    }
}

}  // namespace

void sample_negatives(const Philox& draw, std::uint32_t row, const std::int32_t* positives,
                      index_t n_positives, index_t items, index_t count, ItemSet& chosen,
                      std::vector<std::int32_t>& out) {
    const index_t others = items - n_positives;
    count = std::min(count, others);
    out.resize(static_cast<std::size_t>(count));
    // draw the smaller of the two parts, the items taken or those left: at most half of the others,
    // which needs fewer draws than there are items
    const bool taken = count <= others - count;
    for (index_t i = 0; i < n_positives; ++i) chosen.insert(positives[i]);
    insert_some(draw, row, items, taken ? count : others - count, chosen);
    std::int32_t* next = out.data();
    const auto put = [&](std::int32_t item) { *next++ = item; };
    if (taken) {
        for (index_t i = 0; i < n_positives; ++i) chosen.erase(positives[i]);
        chosen.drain(put);
    } else {
        chosen.drain_complement(put);
    }
}

}  // namespace isthmus
