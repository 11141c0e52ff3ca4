#include "isthmus/batches/batch.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "isthmus/core/parallel.hpp"
#include "isthmus/core/random.hpp"
#include "isthmus/core/simd.hpp"

namespace isthmus {

namespace {

constexpr index_t kRowsPerPiece = 16;
constexpr index_t kRowsAhead = 16;
constexpr index_t kColumnsAhead = 4;
constexpr index_t kStrip = 256;  // cells whose random words are drawn at once
// Scanning this many columns in order takes less time than sorting the column of one cell.
constexpr index_t kScannedColumnsPerCell = 16;

template <class T>
void grow(std::vector<T>& v, index_t size) {
    if (v.size() < static_cast<std::size_t>(size)) v.resize(static_cast<std::size_t>(size));
}

// Rows come in a random order, and rare columns too, which the processor cannot foresee: they are
// fetched ahead. (GCC drops calls of functions that do no more, if it does not inline them.)
ISTHMUS_INLINE void prefetch_row(const CsrView& matrix, const RowTransform& transform,
                                 index_t row) {
    const index_t begin = matrix.indptr[row];
    __builtin_prefetch(matrix.indices + begin);
    if (matrix.values) __builtin_prefetch(matrix.values + begin);
    for (const float* of_row :
         {transform.input_offset, transform.target_offset, transform.input_factor}) {
        if (of_row) __builtin_prefetch(of_row + row);
    }
    for (const float* of_cell : {transform.cell_offset, transform.cell_weight}) {
        if (of_cell) __builtin_prefetch(of_cell + begin);
    }
}

// The same for what is known of a row's columns: of the first ones, which may be all that it has.
ISTHMUS_INLINE void prefetch_columns(const CsrView& matrix, index_t row,
                                     const ColumnLayout::Place* places, const float* offset) {
    const index_t begin = matrix.indptr[row];
    const index_t end = std::min(begin + kColumnsAhead, index_t{matrix.indptr[row + 1]});
    for (index_t i = begin; i < end; ++i) {
        __builtin_prefetch(places + matrix.indices[i]);
        if (offset) __builtin_prefetch(offset + matrix.indices[i]);
    }
}

// The factor that gives the roots of a row's values, or its ones, the length 1.
float unit_of(const CsrView& matrix, index_t row, const double* row_total) {
    auto total = row_total ? row_total[row] : static_cast<double>(matrix.row_nnz(row));
    if (matrix.values && !row_total) {
        const float* const values = matrix.values + matrix.indptr[row];
        total = std::accumulate(values, values + matrix.row_nnz(row), 0.0);
    }
    return total > 0.0 ? static_cast<float>(1.0 / std::sqrt(total)) : 0.0f;
}

}  // namespace

void Batch::assemble(const CsrView& matrix, const std::int32_t* ids, index_t count,
                     const ColumnLayout& layout, const RowTransform& transform,
                     const CorruptionPlan& corruption, int num_threads, bool keeps_places) {
    layout_ = &layout;
    rows_ = count;
    index_t cells = 0;
    work_.resize(static_cast<std::size_t>(count + 1));
    for (index_t r = 0; r < count; ++r) {
        __builtin_prefetch(matrix.indptr + ids[std::min(r + kRowsAhead, count - 1)]);
        const index_t own = matrix.row_nnz(ids[r]);
        cells += own;
        // even an empty row is looked at in every block
        work_[static_cast<std::size_t>(r + 1)] =
            work_[static_cast<std::size_t>(r)] + own + layout.blocks() + 1;
    }
    if (cells > std::numeric_limits<std::uint32_t>::max()) {
        throw std::invalid_argument("a batch may hold at most 4,294,967,295 ratings, and one has " +
                                    std::to_string(cells) + ": lower batch_size");
    }
    const index_t segments = layout.blocks() * count;
    segment_.resize(static_cast<std::size_t>(segments + 1));
    segment_.back() = 0;
    grow(input_end_, segments);
    // one for each thread, as neighbours write to the same cache lines
    const index_t pieces =
        std::min((count + kRowsPerPiece - 1) / kRowsPerPiece, index_t{num_threads});
    grow(scratch_, pieces * 2 * layout.blocks());
    grow(column_, cells);
    grow(input_, cells);
    grow(target_, cells);
    if (keeps_places) {
        grow(place_, cells);
    } else {
        place_.clear();
    }
    if (transform.cell_weight) {
        grow(weight_, cells);
    } else {
        weight_.clear();
    }
    grow(lists_.row_, cells);
    grow(lists_.input_, cells);
    grow(lists_.error_, cells);
    grow(lists_.lists_, std::min(cells, layout.cols()));
    grow(lists_.spans_, layout.blocks());
    grow(slot_, layout.cols());

    parallel_for(pieces, num_threads, [&](index_t piece) {
        count_cells(matrix, ids, rows_of(piece, pieces), scratch_of(piece));
    });
    std::uint32_t total = 0;
    for (auto& start : segment_) {
        const std::uint32_t size = start;
        start = total;
        total += size;
    }
    parallel_for(pieces, num_threads, [&](index_t piece) {
        place_cells(matrix, ids, rows_of(piece, pieces), transform, corruption, scratch_of(piece));
    });
}

Range Batch::rows_of(index_t piece, index_t pieces) const {
    const auto first_after = [&](index_t share) {
        const index_t before = work_[static_cast<std::size_t>(rows_)] * share / pieces;
        const auto end = work_.begin() + rows_ + 1;
        return std::lower_bound(work_.begin(), end, before) - work_.begin();
    };
    return {first_after(piece), first_after(piece + 1)};
}

void Batch::count_cells(const CsrView& matrix, const std::int32_t* ids, Range rows,
                        std::uint32_t* sizes) {
    const ColumnLayout::Place* places = layout_->places();
    const auto blocks = static_cast<std::size_t>(layout_->blocks());
    for (index_t r = rows.begin; r < rows.end; ++r) {
        const auto ahead = [&](index_t by) { return ids[std::min(r + by, rows_ - 1)]; };
        __builtin_prefetch(matrix.indptr + ahead(2 * kRowsAhead));
        __builtin_prefetch(matrix.indices + matrix.indptr[ahead(kRowsAhead)]);
        prefetch_columns(matrix, ahead(kRowsAhead / 2), places, nullptr);
        std::fill_n(sizes, blocks, 0);
        for (index_t i = matrix.indptr[ids[r]]; i < matrix.indptr[ids[r] + 1]; ++i) {
            ++sizes[places[matrix.indices[i]].block];
        }
        for (std::size_t b = 0; b < blocks; ++b) {
            segment_[b * static_cast<std::size_t>(rows_) + static_cast<std::size_t>(r)] = sizes[b];
        }
    }
}

void Batch::place_cells(const CsrView& matrix, const std::int32_t* ids, Range rows,
                        const RowTransform& transform, const CorruptionPlan& corruption,
                        std::uint32_t* front) {
    const ColumnLayout::Place* places = layout_->places();
    const index_t blocks = layout_->blocks();
    const bool masks = corruption.kind == Corruption::mask && corruption.level > 0.0f;
    const bool noisy = corruption.kind == Corruption::gaussian && corruption.level > 0.0f;
    const Philox mask(corruption.seed, Stream::corruption, corruption.epoch);
    const Philox noise(corruption.seed, Stream::noise, corruption.epoch);
    const float survivor_scale =
        masks && corruption.level < 1.0f ? 1.0f / (1.0f - corruption.level) : 1.0f;
    const float input_scale = transform.input_scale * survivor_scale;
    const bool keeps_more = !place_.empty() || transform.cell_weight;
    std::uint32_t* back = front + blocks;
    std::uint32_t words[kStrip];
    float unit_values[kStrip];
    std::int32_t numbers[kStrip];

    for (index_t r = rows.begin; r < rows.end; ++r) {
        const auto ahead = [&](index_t by) { return ids[std::min(r + by, rows_ - 1)]; };
        __builtin_prefetch(matrix.indptr + ahead(2 * kRowsAhead));
        prefetch_row(matrix, transform, ahead(kRowsAhead));
        prefetch_columns(matrix, ahead(kRowsAhead / 2), places, transform.column_offset);
        const std::int32_t id = ids[r];
        const float input_offset = transform.input_offset ? transform.input_offset[id] : 0.0f;
        const float input_factor = transform.input_factor ? transform.input_factor[id] : 1.0f;
        const std::uint32_t* segment = segment_.data() + r;
        for (index_t b = 0; b < blocks; ++b) {
            front[b] = segment[b * rows_];
            back[b] = segment[b * rows_ + 1];
        }
        const index_t row_begin = matrix.indptr[id], row_end = matrix.indptr[id + 1];
        const float unit = transform.unit_rows ? unit_of(matrix, id, transform.row_total) : 1.0f;
        for (index_t strip = row_begin; strip < row_end; strip += kStrip) {
            const index_t size = row_end - strip < kStrip ? row_end - strip : kStrip;
            const std::int32_t* columns = matrix.indices + strip;
            const std::int32_t* drawn_by = columns;
            if (corruption.columns && (masks || noisy)) {
                for (index_t i = 0; i < size; ++i) numbers[i] = corruption.columns[columns[i]];
                drawn_by = numbers;
            }
            const float* values = transform.unit_rows ? unit_values : matrix.values + strip;
            if (transform.unit_rows) {
                for (index_t i = 0; i < size; ++i) {
                    unit_values[i] =
                        matrix.values ? std::sqrt(matrix.values[strip + i]) * unit : unit;
                }
            }
            if (masks && corruption.transposed) {
                mask.words_of_rows(drawn_by, size, static_cast<std::uint32_t>(id), words);
            } else if (masks) {
                mask.words(static_cast<std::uint32_t>(id), drawn_by, size, words);
            }
            for (index_t i = 0; i < size; ++i) {
                const float value = values[i];
                const ColumnLayout::Place to = places[columns[i]];
                const std::int32_t block = to.block;
                const bool masked = masks && Philox::to_uniform(words[i]) < corruption.level;
                float input = (value - input_offset) * input_scale;
                if (noisy) {
                    auto row = static_cast<std::uint32_t>(id);
                    auto column = static_cast<std::uint32_t>(drawn_by[i]);
                    if (corruption.transposed) std::swap(row, column);
                    input += corruption.level * noise.normal(row, column);
                }
                const std::uint32_t place = masked ? --back[block] : front[block]++;
                column_[place] = to.column;
                input_[place] = masked ? 0.0f : input * input_factor;
                target_[place] = transform.target(value, id, columns[i], strip + i);
                if (keeps_more) {
                    if (!place_.empty()) {
                        place_[place] = static_cast<std::int32_t>(strip + i - row_begin);
                    }
                    if (transform.cell_weight) weight_[place] = transform.cell_weight[strip + i];
                }
            }
        }
        for (index_t b = 0; b < blocks; ++b) {
            input_end_[static_cast<std::size_t>(b * rows_ + r)] = front[b];
        }
    }
}

std::uint32_t* Batch::scratch_of(index_t piece) {
    return scratch_.data() + piece * 2 * layout_->blocks();
}

void Batch::list_columns(index_t block) {
    const ColumnLists::Lists opened = open_lists(block);
    ColumnLists::List* const lists = lists_.lists_.data() + (opened.first - lists_.lists_.data());
    const auto put = [&](index_t r, index_t cell, std::uint32_t place) {
        lists_.row_[place] = static_cast<std::int32_t>(r);
        lists_.input_[place] = input_[static_cast<std::size_t>(cell)];
        lists_.error_[place] = target_[static_cast<std::size_t>(cell)];
    };
    // inputs fill a list from the front, masked cells from the back
    for (index_t r = 0; r < rows_; ++r) {
        const Segment cells = segment(block, r);
        for (index_t i = cells.begin; i < cells.input_end; ++i) {
            put(r, i, lists[slot_[column_[static_cast<std::size_t>(i)]]].input_end++);
        }
        for (index_t i = cells.input_end; i < cells.end; ++i) {
            put(r, i, --lists[slot_[column_[static_cast<std::size_t>(i)]]].end);
        }
    }
    std::uint32_t end = segment_[static_cast<std::size_t>((block + 1) * rows_)];
    for (index_t at = opened.last - opened.first; at-- > 0;) {
        slot_[static_cast<std::size_t>(lists[at].column)] = 0;
        lists[at].end = end;
        end = lists[at].begin;
    }
}

// Opens an empty list, with room for its cells, for each column that has a cell in the block; slot_
// maps a column to its list.
ColumnLists::Lists Batch::open_lists(index_t block) {
    const Range columns = layout_->block(block);
    const std::uint32_t first = segment_[static_cast<std::size_t>(block * rows_)];
    const std::uint32_t last = segment_[static_cast<std::size_t>((block + 1) * rows_)];
    // there are no more lists than cells, and no more than columns: the fewer of them have room
    const index_t begin = nnz() < layout_->cols() ? index_t{first} : columns.begin;
    ColumnLists::List* const lists = lists_.lists_.data() + begin;
    std::uint32_t* const size = slot_.data();
    std::uint32_t count = 0, total = first;
    const auto open = [&](std::int32_t column) {
        lists[count] = {column, total, total, total + size[column]};
        total += size[column];
        size[column] = count++;
    };
    if (columns.size() <= kScannedColumnsPerCell * (last - first)) {
        for (std::uint32_t i = first; i < last; ++i) ++size[column_[i]];
        for (index_t c = columns.begin; c < columns.end; ++c) {
            if (size[c] > 0) open(static_cast<std::int32_t>(c));
        }
    } else {
        std::uint32_t found = 0;
        for (std::uint32_t i = first; i < last; ++i) {
            if (size[column_[i]]++ == 0) lists[found++].column = column_[i];
        }
        std::sort(lists, lists + found,
                  [](const auto& a, const auto& b) { return a.column < b.column; });
        while (count < found) open(lists[count].column);
    }
    lists_.spans_[static_cast<std::size_t>(block)] = {begin, begin + count};
    return lists_.block(block);
}

}  // namespace isthmus
