#include "isthmus/negatives.hpp"

#include <algorithm>
#include <utility>

namespace isthmus {

void sample_negatives(const Philox& draw, std::uint32_t row, const std::int32_t* positives,
                      index_t n_positives, index_t items, index_t count,
                      std::vector<std::uint8_t>& marks, std::vector<std::int32_t>& out) {
    out.clear();
    count = std::min(count, items - n_positives);
    for (index_t i = 0; i < n_positives; ++i) marks[static_cast<std::size_t>(positives[i])] = 1;
    const auto below = [&](std::uint32_t at, index_t limit) {
        const std::uint64_t word = draw(row, at)[0];
        return static_cast<index_t>((word * static_cast<std::uint64_t>(limit)) >> 32);
    };
    if (2 * (n_positives + count) <= items) {
        // at least every other draw is a new negative
        for (std::uint32_t at = 0; static_cast<index_t>(out.size()) < count; ++at) {
            const index_t item = below(at, items);
            std::uint8_t& mark = marks[static_cast<std::size_t>(item)];
            if (mark) continue;
            mark = 1;
            out.push_back(static_cast<std::int32_t>(item));
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
            const index_t other = i + below(static_cast<std::uint32_t>(i), free - i);
            std::swap(out[static_cast<std::size_t>(i)], out[static_cast<std::size_t>(other)]);
        }
        out.resize(static_cast<std::size_t>(count));
    }
    for (index_t i = 0; i < n_positives; ++i) marks[static_cast<std::size_t>(positives[i])] = 0;
}

}  // namespace isthmus
