#pragma once
// Items that a row does not have, drawn to be contrasted with those that it has.

#include <cstdint>
#include <vector>

#include "isthmus/batches/item_set.hpp"
#include "isthmus/core/random.hpp"
#include "isthmus/core/types.hpp"

namespace isthmus {

// `count` items that are not among `positives` (ascending), ascending, each once, or all such items
// if there are no more: a function of (draw, row) alone. `chosen` is empty, and left so.
void sample_negatives(const Philox& draw, std::uint32_t row, const std::int32_t* positives,
                      index_t n_positives, index_t items, index_t count, ItemSet& chosen,
                      std::vector<std::int32_t>& out);

}  // namespace isthmus
