#pragma once
// Negative sampling: items that a row does not have.

#include <cstdint>
#include <vector>

#include "isthmus/batches/item_set.hpp"
#include "isthmus/core/random.hpp"
#include "isthmus/core/types.hpp"

namespace isthmus {

// Draws `count` different items that are not among `positives` (ascending), or all such items if
// there are fewer; `out` is ascending, and a function of (draw, row) alone. `chosen` is scratch:
// empty before and after.
void sample_negatives(const Philox& draw, std::uint32_t row, const std::int32_t* positives,
                      index_t n_positives, index_t items, index_t count, ItemSet& chosen,
                      std::vector<std::int32_t>& out);

}  // namespace isthmus
