#include "isthmus/batches/batch.hpp"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "check.hpp"
#include "isthmus/core/random.hpp"
#include "random_data.hpp"

using isthmus::Batch;
using isthmus::ColumnLists;
using isthmus::Corruption;
using isthmus::CorruptionPlan;
using isthmus::Philox;
using isthmus::Range;
using isthmus::RowTransform;
using isthmus::Stream;
using testing::ColumnLayout;
using testing::index_t;
using testing::Sparse;

namespace {

struct Cell {
    float input, target;
    bool masked;
};
using Cells = std::map<std::pair<index_t, index_t>, Cell>;  // by row in the batch and column

// What a batch must hold, cell by cell.
Cells expected_cells(const Sparse& sparse, const std::vector<std::int32_t>& ids,
                     const ColumnLayout& layout, const RowTransform& transform,
                     const CorruptionPlan& corruption) {
    Cells cells;
    for (std::size_t r = 0; r < ids.size(); ++r) {
        const auto id = static_cast<std::uint32_t>(ids[r]);
        for (std::int64_t i = sparse.indptr[id]; i < sparse.indptr[id + 1]; ++i) {
            const auto at = static_cast<std::size_t>(i);
            const auto column = static_cast<std::uint32_t>(sparse.indices[at]);
            const float value = sparse.values[at];
            Cell cell{(value - transform.input_offset[id]) * transform.input_scale,
                      (value - transform.target_offset[id]) * transform.target_scale, false};
            if (corruption.kind == Corruption::mask) {
                const Philox draw(corruption.seed, Stream::corruption, corruption.epoch);
                cell.masked = draw.uniform(id, column) < corruption.level;
                cell.input *= cell.masked ? 0.0f : 1.0f / (1.0f - corruption.level);
            } else if (corruption.kind == Corruption::gaussian) {
                const Philox draw(corruption.seed, Stream::noise, corruption.epoch);
                cell.input += corruption.level * draw.normal(id, column);
            }
            cells[{static_cast<index_t>(r), layout.internal()[column]}] = cell;
        }
    }
    return cells;
}

// The segments hold each cell once, in its place, with the inputs first.
void check_segments(const Batch& batch, const Cells& expected) {
    Cells left = expected;
    index_t next = 0;
    for (index_t block = 0; block < batch.layout().blocks(); ++block) {
        const Range columns = batch.layout().block(block);
        for (index_t r = 0; r < batch.rows(); ++r) {
            const Batch::Segment segment = batch.segment(block, r);
            CHECK_EQUAL(segment.begin, next);
            next = segment.end;
            for (index_t i = segment.begin; i < segment.end; ++i) {
                const index_t column = batch.column()[i];
                CHECK(column >= columns.begin && column < columns.end);
                const auto cell = left.find({r, column});
                CHECK(cell != left.end());
                if (cell == left.end()) continue;
                CHECK_EQUAL(cell->second.masked, i >= segment.input_end);
                CHECK_CLOSE(batch.input()[i], cell->second.input, 1e-5);
                CHECK_CLOSE(batch.target()[i], cell->second.target, 1e-6);
                left.erase(cell);
            }
        }
    }
    CHECK_EQUAL(next, batch.nnz());
    CHECK(left.empty());
}

// The columns' lists are in order, and name each cell once, with its row, and the inputs first.
void check_lists(Batch& batch, const Cells& expected) {
    index_t listed = 0;
    for (index_t block = 0; block < batch.layout().blocks(); ++block) {
        batch.list_columns(block);
        const Range columns = batch.layout().block(block);
        index_t least = columns.begin;
        for (const ColumnLists::List& list : batch.lists().block(block)) {
            CHECK(list.column >= least && list.column < columns.end);
            CHECK(list.begin < list.end);
            least = list.column + 1;
            for (index_t i = list.begin; i < list.end; ++i) {
                const auto cell = expected.find({batch.lists().row()[i], list.column});
                CHECK(cell != expected.end());
                if (cell == expected.end()) continue;
                CHECK_EQUAL(cell->second.masked, i >= list.input_end);
                CHECK_CLOSE(batch.lists().error()[i], cell->second.target, 1e-6);
                CHECK_CLOSE(batch.lists().input()[i], cell->second.input, 1e-5);
                ++listed;
            }
        }
    }
    CHECK_EQUAL(listed, batch.nnz());
}

// Pieces of rows cover the batch once, and none has more than its share and the row it ends with.
void check_pieces(const Batch& batch, const Sparse& sparse, const std::vector<std::int32_t>& ids,
                  index_t pieces) {
    const auto work = [&](index_t r) {
        const auto id = static_cast<std::size_t>(ids[static_cast<std::size_t>(r)]);
        return sparse.indptr[id + 1] - sparse.indptr[id] + batch.layout().blocks() + 1;
    };
    index_t all = 0, next = 0;
    for (index_t r = 0; r < batch.rows(); ++r) all += work(r);
    for (index_t piece = 0; piece < pieces; ++piece) {
        const Range rows = batch.rows_of(piece, pieces);
        CHECK_EQUAL(rows.begin, next);
        next = rows.end;
        index_t own = 0, heaviest = 0;
        for (index_t r = rows.begin; r < rows.end; ++r) {
            own += work(r);
            heaviest = std::max(heaviest, work(r));
        }
        CHECK(own <= all / pieces + 1 + heaviest);
    }
    CHECK_EQUAL(next, batch.rows());
}

// Some of these rows have more cells than are placed at once.
void rows_of_ones_have_length_1_in_the_input() {
    const Sparse ones = testing::unit_rows(60, 700, 1);
    const ColumnLayout layout = ones.layout();
    const std::vector<std::int32_t> ids = testing::first_integers(60);
    const std::vector<float> none(ids.size());
    const CorruptionPlan mask{Corruption::mask, 0.4f, 9, 2};
    RowTransform transform;
    transform.unit_rows = true;
    Batch batch;
    batch.assemble(ones.pattern(), ids.data(), ones.rows(), layout, transform, mask, 2);
    transform.input_offset = transform.target_offset = none.data();
    const Cells expected = expected_cells(ones, ids, layout, transform, mask);
    check_segments(batch, expected);
    check_lists(batch, expected);
}

}  // namespace

int main() {
    const Sparse sparse = testing::random_sparse(60, 700, 1);
    const ColumnLayout layout = sparse.layout();
    CHECK(layout.blocks() > 4);
    std::vector<float> input_offset, target_offset;
    for (index_t r = 0; r < sparse.rows(); ++r) {
        input_offset.push_back(0.25f * static_cast<float>(r));
        target_offset.push_back(3.0f - 0.5f * static_cast<float>(r));
    }
    const RowTransform transform{input_offset.data(), target_offset.data(), 0.5f, 0.2f};

    Batch batch;  // one for all: it must forget the batch before
    const std::vector<std::vector<std::int32_t>> batches = {
        {7, 3, 59, 0, 12}, {4}, {3, 8}, testing::first_integers(60)};
    for (const auto& ids : batches) {
        for (const CorruptionPlan& corruption :
             {CorruptionPlan{}, CorruptionPlan{Corruption::mask, 0.4f, 9, 2},
              CorruptionPlan{Corruption::gaussian, 0.3f, 9, 2}}) {
            for (const int threads : {1, 3}) {
                batch.assemble(sparse.view(), ids.data(), static_cast<index_t>(ids.size()), layout,
                               transform, corruption, threads);
                const Cells expected = expected_cells(sparse, ids, layout, transform, corruption);
                CHECK_EQUAL(batch.rows(), static_cast<index_t>(ids.size()));
                CHECK_EQUAL(batch.nnz(), static_cast<index_t>(expected.size()));
                check_segments(batch, expected);
                check_lists(batch, expected);
                for (const index_t pieces : {1, 2, 7, 100}) {
                    check_pieces(batch, sparse, ids, pieces);
                }
            }
        }
    }
    rows_of_ones_have_length_1_in_the_input();
    return check::result();
}
