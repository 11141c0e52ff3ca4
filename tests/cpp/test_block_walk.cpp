#include "isthmus/batches/block_walk.hpp"

#include <algorithm>
#include <atomic>
#include <numeric>
#include <vector>

#include "check.hpp"
#include "random_data.hpp"

using isthmus::Batch;
using isthmus::Range;
using isthmus::walk_blocks;
using testing::ColumnLayout;
using testing::index_t;
using testing::Sparse;

namespace {

constexpr index_t kRows = 90;

// What has happened to every (block, row), and to every block.
struct Log {
    explicit Log(index_t blocks)
        : walked(static_cast<std::size_t>(blocks * kRows)),
          begun(static_cast<std::size_t>(blocks)),
          ended(static_cast<std::size_t>(blocks)),
          wrong(0) {}

    std::vector<std::atomic<int>> walked, begun, ended;
    std::atomic<int> wrong;
};

void check_walk(const ColumnLayout& layout, const Batch& batch, int num_threads) {
    Log log(layout.blocks());
    const auto at = [](index_t block, index_t row) {
        return static_cast<std::size_t>(block * kRows + row);
    };
    const auto before = [&](index_t b) { ++log.begun[static_cast<std::size_t>(b)]; };
    const auto walk = [&](index_t slice, index_t b, Range rows) {
        const Range own = layout.slice_blocks(slice);
        if (b < own.begin || b >= own.end) ++log.wrong;
        if (log.begun[static_cast<std::size_t>(b)] != 1) ++log.wrong;
        for (index_t r = rows.begin; r < rows.end; ++r) {
            // the row's sum must hold all earlier blocks of the slice
            if (b > own.begin && log.walked[at(b - 1, r)] != 1) ++log.wrong;
            ++log.walked[at(b, r)];
        }
    };
    const auto after = [&](index_t b) {
        for (index_t r = 0; r < batch.rows(); ++r) {
            if (log.walked[at(b, r)] != 1) ++log.wrong;
        }
        ++log.ended[static_cast<std::size_t>(b)];
    };
    walk_blocks(batch, num_threads, before, walk, after);

    CHECK_EQUAL(log.wrong.load(), 0);
    for (const auto& count : log.ended) CHECK_EQUAL(count.load(), 1);
}

}  // namespace

int main() {
    // 3,000 columns: two slices of several blocks; 100: one slice of one block
    for (const index_t cols : {3000, 100}) {
        const Sparse sparse = testing::random_sparse(kRows, cols, 1);
        const ColumnLayout layout = sparse.layout();
        std::vector<std::int32_t> ids(kRows);
        std::iota(ids.begin(), ids.end(), 0);
        Batch batch;
        batch.assemble(sparse.view(), ids.data(), kRows, layout, {}, {}, 1);
        for (const int threads : {1, 2, 3, 4, 5, 8, 16}) {
            for (int turn = 0; turn < 10; ++turn) check_walk(layout, batch, threads);
        }
        if (cols == 3000) CHECK(layout.blocks() >= 2 * 5);  // threads follow one another

        // Three slices of their own sizes, of which the second has no column.
        std::vector<std::int32_t> slice_of(static_cast<std::size_t>(cols), 2);
        for (std::size_t c = 0; c < slice_of.size(); c += 5) slice_of[c] = 0;
        const ColumnLayout sliced(sparse.popularity(), kRows, 60, slice_of);
        CHECK_EQUAL(sliced.slices(), 3);
        CHECK_EQUAL(sliced.slice_blocks(1).size(), 0);
        for (const index_t rows : {kRows, index_t{4}, index_t{1}}) {  // the fourth row is empty
            Batch some;
            some.assemble(sparse.view(), ids.data() + 3, std::min(rows, kRows - 3), sliced, {}, {},
                          1);
            for (const int threads : {1, 2, 3, 4, 8, 16}) check_walk(sliced, some, threads);
        }
    }
    return check::result();
}
