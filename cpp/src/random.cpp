#include "isthmus/random.hpp"

#include <utility>

namespace isthmus {

void Philox::words(std::uint32_t row, const std::int32_t* positions, index_t count,
                   std::uint32_t* out, std::uint32_t shift) const {
    for (index_t i = 0; i < count; ++i) {
        out[i] = (*this)(row, static_cast<std::uint32_t>(positions[i]) + shift)[0];
    }
}

void shuffle(std::vector<std::int32_t>& items, std::uint64_t seed, std::uint32_t epoch) {
    const Philox draw(seed, Stream::shuffle, epoch);
    for (std::size_t i = items.size(); i > 1; --i) {
        const std::uint64_t word = draw(0, static_cast<std::uint32_t>(i - 1))[0];
        std::swap(items[i - 1], items[static_cast<std::size_t>((word * i) >> 32)]);
    }
}

}  // namespace isthmus
