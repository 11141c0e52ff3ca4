#include "isthmus/sampled_batch.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

#include "check.hpp"
#include "isthmus/negatives.hpp"
#include "random_data.hpp"

using isthmus::ItemSet;
using isthmus::Philox;
using isthmus::SampledBatch;
using isthmus::Stream;
using testing::index_t;
using testing::Sparse;

namespace {

constexpr index_t kRows = 40, kItems = 700, kNegatives = 4;
constexpr float kCorruption = 0.3f;

const Sparse& data() {
    static const Sparse sparse = testing::random_sparse(kRows, kItems, 5);
    return sparse;
}

void a_row_has_its_positives_and_its_negatives_each_in_its_block() {
    const Philox negatives(7, Stream::negatives, 1), mask(7, Stream::corruption, 1);
    std::vector<std::int32_t> ids(kRows);
    std::iota(ids.rbegin(), ids.rend(), 0);
    SampledBatch batch({kItems, 10, kRows, 5.0, kNegatives, kCorruption});
    batch.start(data().view(), ids.data(), kRows);
    batch.sample(data().view(), ids.data(), 20, kRows, negatives, mask);
    batch.sample(data().view(), ids.data(), 0, 20, negatives, mask);
    CHECK_CLOSE(batch.input(), 1.0 / 0.7, 1e-6);

    index_t cells = 0;
    for (index_t r = 0; r < kRows; ++r) {
        const auto at = static_cast<std::size_t>(ids[static_cast<std::size_t>(r)]);
        const std::vector<std::int32_t> own(data().indices.begin() + data().indptr[at],
                                            data().indices.begin() + data().indptr[at + 1]);
        const auto n = static_cast<index_t>(own.size());
        ItemSet chosen(kItems);
        std::vector<std::int32_t> others, kept, positives, drawn;
        isthmus::sample_negatives(negatives, static_cast<std::uint32_t>(at), own.data(), n, kItems,
                                  kNegatives * n, chosen, others);
        for (index_t b = 0; b < batch.blocks(); ++b) {
            const SampledBatch::Cells row = batch.cells(b, r);
            CHECK_EQUAL(row.first, cells + static_cast<index_t>(positives.size() + drawn.size()));
            for (index_t i = 0; i < row.size; ++i) {
                CHECK(row.item[i] >= batch.block(b).begin && row.item[i] < batch.block(b).end);
                if (i < row.inputs) kept.push_back(row.item[i]);
                (i < row.positives ? positives : drawn).push_back(row.item[i]);
            }
        }
        CHECK(drawn == others);
        std::sort(positives.begin(), positives.end());
        CHECK(positives == own);
        std::vector<std::int32_t> expected;
        for (const std::int32_t item : own) {
            const float u =
                mask.uniform(static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(item));
            if (u >= kCorruption) expected.push_back(item);
        }
        CHECK(kept == expected);
        cells += n + static_cast<index_t>(others.size());
    }
    CHECK_EQUAL(batch.cells(), cells);
}

// Blocks grow with how few cells a row has, as long as their weights fit a cache.
void blocks_follow_the_density_and_cover_the_items() {
    const auto blocks = [](index_t items, index_t units, double positives) {
        const SampledBatch batch({items, units, 8, positives, 5, 0.0f});
        CHECK_EQUAL(batch.block(0).begin, 0);
        for (index_t b = 0; b + 1 < batch.blocks(); ++b) {
            CHECK_EQUAL(batch.block(b).size(), batch.block_items());
            CHECK_EQUAL(batch.block(b).end, batch.block(b + 1).begin);
        }
        CHECK_EQUAL(batch.block(batch.blocks() - 1).end, items);
        return batch.block_items();
    };
    CHECK_EQUAL(blocks(3000, 64, 100.0), 128);
    CHECK_EQUAL(blocks(40'000, 64, 100.0), 2048);
    CHECK_EQUAL(blocks(1'000'000, 64, 10.0), 4096);
    CHECK_EQUAL(blocks(1'000'000, 500, 10.0), 512);
    CHECK_EQUAL(blocks(5, 8, 2.0), 128);
}

}  // namespace

int main() {
    a_row_has_its_positives_and_its_negatives_each_in_its_block();
    blocks_follow_the_density_and_cover_the_items();
    return check::result();
}
