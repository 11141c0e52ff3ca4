#include "isthmus/batches/column_layout.hpp"

#include <algorithm>
#include <random>
#include <vector>

#include "check.hpp"

using isthmus::ColumnLayout;
using isthmus::index_t;
using isthmus::Range;

namespace {

std::vector<std::int64_t> random_popularity(index_t cols) {
    std::mt19937 random(static_cast<unsigned>(cols));
    std::vector<std::int64_t> popularity(static_cast<std::size_t>(cols));
    for (auto& count : popularity) count = random() % 8;  // many are equal
    return popularity;
}

// Internal column -> original column; each must occur once.
std::vector<std::int32_t> originals(const ColumnLayout& layout) {
    std::vector<std::int32_t> original(static_cast<std::size_t>(layout.cols()), -1);
    for (index_t c = 0; c < layout.cols(); ++c) {
        const std::int32_t at = layout.internal()[c];
        CHECK(at >= 0 && at < layout.cols());
        CHECK_EQUAL(original[static_cast<std::size_t>(at)], -1);
        original[static_cast<std::size_t>(at)] = static_cast<std::int32_t>(c);
    }
    return original;
}

void check_blocks_and_slices(const ColumnLayout& layout, index_t most = 512) {
    index_t next_column = 0, next_block = 0;
    for (index_t slice = 0; slice < layout.slices(); ++slice) {
        const Range blocks = layout.slice_blocks(slice);
        CHECK_EQUAL(blocks.begin, next_block);
        CHECK(blocks.end > blocks.begin);
        next_block = blocks.end;
        for (index_t block = blocks.begin; block < blocks.end; ++block) {
            const Range columns = layout.block(block);
            CHECK_EQUAL(columns.begin, next_column);
            CHECK(columns.size() >= 1 && columns.size() <= most);
            next_column = columns.end;
        }
    }
    CHECK_EQUAL(next_block, layout.blocks());
    CHECK_EQUAL(next_column, layout.cols());
    for (index_t c = 0; c < layout.cols(); ++c) {
        const ColumnLayout::Place place = layout.places()[c];
        const Range columns = layout.block(place.block);
        CHECK_EQUAL(place.column, layout.internal()[c]);
        CHECK(place.column >= columns.begin && place.column < columns.end);
    }
}

void columns_are_dealt_by_popularity() {
    for (const index_t cols : {1, 2, 127, 128, 255, 256, 511, 512, 513, 3001}) {
        const auto popularity = random_popularity(cols);
        const ColumnLayout layout(popularity, 50, 50);
        CHECK_EQUAL(layout.cols(), cols);
        CHECK_EQUAL(layout.slices(), std::clamp(cols / 128, index_t{1}, index_t{2}));
        check_blocks_and_slices(layout);

        const auto original = originals(layout);
        const auto rank = [&](index_t internal) {  // more popular first, equals in their order
            const std::int32_t column = original[static_cast<std::size_t>(internal)];
            return std::pair(-popularity[static_cast<std::size_t>(column)], column);
        };
        index_t smallest = cols, largest = 0;
        for (index_t slice = 0; slice < layout.slices(); ++slice) {
            const Range blocks = layout.slice_blocks(slice);
            const index_t begin = layout.block(blocks.begin).begin;
            const index_t end = layout.block(blocks.end - 1).end;
            smallest = std::min(smallest, end - begin);
            largest = std::max(largest, end - begin);
            for (index_t c = begin + 1; c < end; ++c) CHECK(rank(c - 1) < rank(c));
            if (slice > 0) CHECK(rank(layout.block(0).begin) < rank(begin));
        }
        CHECK(largest - smallest <= 1);
    }
}

void blocks_of_popular_columns_are_smaller() {
    const ColumnLayout full(std::vector<std::int64_t>(4000, 100), 100, 100);
    const ColumnLayout half(std::vector<std::int64_t>(4000, 1), 100, 100);
    CHECK(full.block(0).size() < half.block(0).size());
    check_blocks_and_slices(full);
    check_blocks_and_slices(half);
}

// So that a batch's rows are not looked at in blocks where they have nothing.
void blocks_of_rare_columns_have_a_cell_for_most_rows() {
    const ColumnLayout rare(std::vector<std::int64_t>(40000, 1), 4000, 4000);
    CHECK_EQUAL(rare.block(0).size(), 4000);
    check_blocks_and_slices(rare, 4000);
    // a batch reads one in ten of the columns: 512 of them are 5,120
    const ColumnLayout batches(std::vector<std::int64_t>(40000, 1), 4000, 400);
    CHECK_EQUAL(batches.block(0).size(), 5120);
    const ColumnLayout none(std::vector<std::int64_t>(4000, 0), 0, 256);
    CHECK_EQUAL(none.blocks(), 2);
    check_blocks_and_slices(none, 2000);
}

// Whatever other slices there are, as machines have some of them each.
void a_slice_is_laid_out_by_its_columns_alone() {
    std::vector<std::int64_t> popularity(3000);
    std::vector<std::int32_t> slice_of(3000);
    for (std::size_t c = 0; c < popularity.size(); ++c) {
        popularity[c] = static_cast<std::int64_t>(c * 7919 % 3001);
        slice_of[c] = static_cast<std::int32_t>(c * 31 % 4);
    }
    const ColumnLayout all(popularity, 900, 64, slice_of);
    CHECK_EQUAL(all.slices(), 4);
    std::vector<std::int64_t> own;
    std::vector<std::size_t> columns;
    for (std::size_t c = 0; c < popularity.size(); ++c) {
        if (slice_of[c] != 2) continue;
        own.push_back(popularity[c]);
        columns.push_back(c);
    }
    const ColumnLayout alone(own, 900, 64, std::vector<std::int32_t>(own.size(), 0));
    const Range blocks = all.slice_blocks(2);
    CHECK_EQUAL(alone.blocks(), blocks.size());
    const index_t begin = all.block(blocks.begin).begin;
    for (index_t b = 0; b < alone.blocks(); ++b) {
        CHECK_EQUAL(alone.block(b).size(), all.block(blocks.begin + b).size());
    }
    for (std::size_t i = 0; i < columns.size(); ++i) {
        CHECK_EQUAL(alone.internal()[i], all.internal()[columns[i]] - begin);
    }
}

void columns_may_stay_in_order() {
    for (const index_t cols : {1, 512, 513, 2000}) {
        const ColumnLayout layout = ColumnLayout::in_order(cols);
        CHECK_EQUAL(layout.slices(), 1);
        check_blocks_and_slices(layout);
        for (index_t c = 0; c < cols; ++c) CHECK_EQUAL(layout.internal()[c], c);
    }
    const ColumnLayout sparse = ColumnLayout::in_order(100000, 4.0);
    CHECK_EQUAL(sparse.blocks(), 4);
    check_blocks_and_slices(sparse, 25000);
    CHECK_EQUAL(ColumnLayout::in_order(100000, 0.0).blocks(), 1);
}

}  // namespace

int main() {
    columns_are_dealt_by_popularity();
    blocks_of_popular_columns_are_smaller();
    blocks_of_rare_columns_have_a_cell_for_most_rows();
    a_slice_is_laid_out_by_its_columns_alone();
    columns_may_stay_in_order();
    return check::result();
}
