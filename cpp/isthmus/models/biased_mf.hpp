#pragma once
// Matrix factorisation with biases: r = mean + user_bias + item_bias + user factors . item factors.

#include <cstdint>

#include "isthmus/core/csr.hpp"
#include "isthmus/core/parallel.hpp"
#include "isthmus/core/types.hpp"
#include "isthmus/solvers/als.hpp"

namespace isthmus {

struct BiasedMF {
    // Factors are drawn from N(0, scale^2 / k), biases are 0.
    BiasedMF(index_t users, index_t items, index_t k, float mean, float scale, std::uint64_t seed,
             int num_threads);

    FactorSide user_side() { return {user_factors.view(), user_bias.data()}; }
    FactorSide item_side() { return {item_factors.view(), item_bias.data()}; }

    float mean;
    Matrix user_factors, item_factors;  // users x k, items x k
    Matrix user_bias, item_bias;        // 1 x users, 1 x items
};

struct SidePenalties {
    RidgePenalty user, item;
};

// Solves for all users, with the items fixed, then for all items: an epoch of alternating least
// squares. by_item is by_user transposed. `poll` is called with the number of cells done, out of
// twice the matrix's. Returns the squared error after the sweep.
double als_sweep(BiasedMF& model, const CsrView& by_user, const CsrView& by_item,
                 const SidePenalties& penalties, int num_threads, const Poll& poll);

}  // namespace isthmus
