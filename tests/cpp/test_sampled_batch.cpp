#include "isthmus/batches/sampled_batch.hpp"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "check.hpp"
#include "isthmus/batches/negatives.hpp"
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
    batch.sort();
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
        batch.for_each_of_row(r, [&](const SampledBatch::Cells& row) {
            CHECK_EQUAL(row.row, r);
            CHECK_EQUAL(row.first, cells + static_cast<index_t>(positives.size() + drawn.size()));
            CHECK(row.size > 0);
            for (index_t i = 0; i < row.size; ++i) {
                CHECK_EQUAL(row.item[i] / batch.block_items(), row.item[0] / batch.block_items());
                if (i < row.inputs) kept.push_back(row.item[i]);
                (i < row.positives ? positives : drawn).push_back(row.item[i]);
            }
        });
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

// Every segment of a row is its block's too, whose rows ascend; a block without cells has none.
void a_block_has_the_segments_of_its_rows() {
    const Philox draw(7, Stream::negatives, 1);
    std::vector<std::int32_t> ids(kRows);
    std::iota(ids.begin(), ids.end(), 0);
    SampledBatch batch({kItems, 10, kRows, 5.0, 0, 0.0f});
    for (const index_t count : {kRows, index_t{2}, kRows}) {  // with what is left of other batches
        batch.start(data().view(), ids.data(), count);
        batch.sample(data().view(), ids.data(), 0, count, draw, draw);
        batch.sort();
        using Place = std::pair<index_t, index_t>;  // a row, and a cell of the batch
        std::vector<std::vector<Place>> expected(static_cast<std::size_t>(batch.blocks()));
        for (index_t r = 0; r < count; ++r) {
            batch.for_each_of_row(r, [&](const SampledBatch::Cells& row) {
                expected[static_cast<std::size_t>(row.item[0] / batch.block_items())].emplace_back(
                    r, row.first);
            });
        }
        for (index_t b = 0; b < batch.blocks(); ++b) {
            std::vector<Place> found;
            batch.for_each_of_block(b, [&](const SampledBatch::Cells& cells) {
                found.emplace_back(cells.row, cells.first);
            });
            CHECK(found == expected[static_cast<std::size_t>(b)]);
            CHECK_EQUAL(batch.has_cells(b), !found.empty());
        }
    }
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
    a_block_has_the_segments_of_its_rows();
    blocks_follow_the_density_and_cover_the_items();
    return check::result();
}
