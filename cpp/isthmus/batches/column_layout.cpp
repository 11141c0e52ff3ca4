#include "isthmus/batches/column_layout.hpp"

#include <algorithm>
#include <numeric>

namespace isthmus {

namespace {

// A slice costs rows x k floats, which every slice's turn brings into the cache anew: with eight
// slices, an epoch took a tenth longer than with two. More threads than slices share a slice's
// blocks.
constexpr index_t kMostSlices = 2;
constexpr index_t kLeastSliceColumns = 128;

// A block's weights at k = 512 take 256 KiB, an eighth to a quarter of a core's L2. (In bfloat16,
// half of it: with blocks twice as wide, few threads gain up to a twentieth, and many lose more, as
// there are too few blocks to share.) Blocks of columns that few rows have grow, so that a row's
// share of a block stays worth its overhead: up to as many columns as fit the cache, counting those
// that a batch reads, and further while most rows would have no cell in the block.
constexpr index_t kLeastBlockColumns = 128;
constexpr index_t kMostBlockColumns = 512;
constexpr double kWantedCellsPerRow = 4.0;
constexpr double kLeastCellsPerRow = 1.0;

// The columns of each slice, most popular first.
std::vector<std::vector<std::int32_t>> deal(const std::vector<std::int64_t>& popularity,
                                            const std::vector<std::int32_t>& slice_of) {
    std::vector<std::int32_t> by_popularity(popularity.size());
    std::iota(by_popularity.begin(), by_popularity.end(), 0);
    const auto count = [&](std::int32_t c) { return popularity[static_cast<std::size_t>(c)]; };
    std::stable_sort(by_popularity.begin(), by_popularity.end(),
                     [&](std::int32_t a, std::int32_t b) { return count(a) > count(b); });
    const auto cols = static_cast<index_t>(popularity.size());
    const index_t slices = slice_of.empty()
                               ? std::clamp(cols / kLeastSliceColumns, index_t{1}, kMostSlices)
                               : index_t{*std::max_element(slice_of.begin(), slice_of.end())} + 1;
    std::vector<std::vector<std::int32_t>> dealt(static_cast<std::size_t>(slices));
    for (index_t rank = 0; rank < cols; ++rank) {
        const std::int32_t column = by_popularity[static_cast<std::size_t>(rank)];
        // dealt like cards: every slice gets its share of popular and of rare columns
        const index_t slice =
            slice_of.empty() ? rank % slices : slice_of[static_cast<std::size_t>(column)];
        dealt[static_cast<std::size_t>(slice)].push_back(column);
    }
    return dealt;
}

}  // namespace

ColumnLayout::ColumnLayout(const std::vector<std::int64_t>& popularity, index_t rows,
                           index_t batch_rows, const std::vector<std::int32_t>& slice_of) {
    const double all_rows = static_cast<double>(std::max<index_t>(rows, 1));
    const double share = static_cast<double>(std::min(batch_rows, rows)) / all_rows;
    internal_.resize(popularity.size());
    places_.resize(popularity.size());
    slice_blocks_ = {0};
    block_start_ = {0};
    index_t next = 0;
    for (const std::vector<std::int32_t>& slice : deal(popularity, slice_of)) {
        double cells = 0.0, columns_read = 0.0;
        for (const std::int32_t column : slice) {
            const index_t size = next - block_start_.back();
            const bool fits_no_more =
                columns_read >= double{kMostBlockColumns} && cells >= kLeastCellsPerRow * all_rows;
            const bool is_full =
                size >= kLeastBlockColumns && cells >= kWantedCellsPerRow * all_rows;
            if (fits_no_more || is_full) {
                block_start_.push_back(next);
                cells = columns_read = 0.0;
            }
            internal_[static_cast<std::size_t>(column)] = static_cast<std::int32_t>(next);
            places_[static_cast<std::size_t>(column)] = {
                static_cast<std::int32_t>(next),
                static_cast<std::int32_t>(block_start_.size() - 1)};
            const auto own = static_cast<double>(popularity[static_cast<std::size_t>(column)]);
            cells += own;
            columns_read += std::min(own * share, 1.0);
            ++next;
        }
        if (next > block_start_.back()) block_start_.push_back(next);
        slice_blocks_.push_back(static_cast<index_t>(block_start_.size()) - 1);
    }
}

ColumnLayout ColumnLayout::in_order(index_t cols, double cells_per_row) {
    const auto wide = static_cast<index_t>(kLeastCellsPerRow * static_cast<double>(cols) /
                                           std::max(cells_per_row, 1.0));
    const index_t width = std::max(wide, kMostBlockColumns);
    ColumnLayout layout;
    layout.slice_blocks_ = layout.block_start_ = {0};
    layout.append_slice(cols, width);
    return layout;
}

ColumnLayout ColumnLayout::in_order(const std::vector<Range>& slices, index_t cols) {
    ColumnLayout layout;
    layout.slice_blocks_ = layout.block_start_ = {0};
    for (std::size_t s = 0; s < slices.size(); ++s) {
        layout.append_slice(s + 1 < slices.size() ? slices[s + 1].begin : cols, kMostBlockColumns);
    }
    return layout;
}

// The next columns in their order, in blocks of at most `width`.
void ColumnLayout::append_slice(index_t end, index_t width) {
    internal_.reserve(static_cast<std::size_t>(end));
    places_.reserve(static_cast<std::size_t>(end));
    for (index_t begin = cols(); begin < end; begin += width) {
        const auto block = static_cast<std::int32_t>(blocks());
        block_start_.push_back(std::min(begin + width, end));
        for (index_t c = begin; c < block_start_.back(); ++c) {
            internal_.push_back(static_cast<std::int32_t>(c));
            places_.push_back({static_cast<std::int32_t>(c), block});
        }
    }
    slice_blocks_.push_back(blocks());
}

}  // namespace isthmus
