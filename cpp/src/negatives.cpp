#include "isthmus/negatives.hpp"

#include <algorithm>
#include <utility>

namespace isthmus {

namespace {

// Numbers below limits, from all four words at a row's positions 0, 1, 2, ..., of which some are
// drawn at once.
class Draws {
public:
    Draws(const Philox& draw, std::uint32_t row) : draw_(draw), row_(row) {}

    index_t below(index_t limit) {
        if (at_ == 4 * kPositions) draw_strip();
        const std::uint64_t word = words_[at_++];
        return static_cast<index_t>((word * static_cast<std::uint64_t>(limit)) >> 32);
    }

private:
    static constexpr index_t kPositions = 16;

    void draw_strip() {
        draw_.all_words(row_, first_, kPositions, words_);
        first_ += kPositions;
        at_ = 0;
    }

    const Philox& draw_;
    std::uint32_t row_, first_ = 0, words_[4 * kPositions] = {};
    index_t at_ = 4 * kPositions;
};

}  // namespace

void sample_negatives(const Philox& draw, std::uint32_t row, const std::int32_t* positives,
                      index_t n_positives, index_t items, index_t count,
                      std::vector<std::uint8_t>& marks, std::vector<std::int32_t>& out) {
    out.clear();
    count = std::min(count, items - n_positives);
    for (index_t i = 0; i < n_positives; ++i) marks[static_cast<std::size_t>(positives[i])] = 1;
    Draws draws(draw, row);
    if (2 * (n_positives + count) <= items) {
        // at least every other draw is a new negative
        out.resize(static_cast<std::size_t>(count));
        for (std::size_t found = 0; found < out.size();) {
            const index_t item = draws.below(items);
            std::uint8_t& mark = marks[static_cast<std::size_t>(item)];
            out[found] = static_cast<std::int32_t>(item);
            found += 1u - mark;  // no branch, which would be mispredicted
            mark = 1;
        }
        for (const std::int32_t item : out) marks[static_cast<std::size_t>(item)] = 0;
    } else {
        // the first places of a permutation of all that there are
        for (index_t item = 0; item < items; ++item) {
            if (!marks[static_cast<std::size_t>(item)])
                out.push_back(static_cast<std::int32_t>(item));
        }
        const auto free = static_cast<index_t>(out.size());
        for (index_t i = 0; i < count; ++i) {
            const index_t other = i + draws.below(free - i);
            std::swap(out[static_cast<std::size_t>(i)], out[static_cast<std::size_t>(other)]);
        }
        out.resize(static_cast<std::size_t>(count));
    }
    for (index_t i = 0; i < n_positives; ++i) marks[static_cast<std::size_t>(positives[i])] = 0;
}

}  // namespace isthmus
