#include "isthmus/models/biased_mf.hpp"

#include <cmath>

#include "isthmus/core/parallel.hpp"
#include "isthmus/nn/layers.hpp"

namespace isthmus {

BiasedMF::BiasedMF(index_t users, index_t items, index_t k, float mean_, float scale,
                   std::uint64_t seed, int num_threads)
    : mean(mean_),
      user_factors(users, k),
      item_factors(items, k),
      user_bias(1, users),
      item_bias(1, items) {
    const float deviation = scale / std::sqrt(static_cast<float>(k));
    initialize_normal(user_factors, deviation, seed, 0, num_threads);
    initialize_normal(item_factors, deviation, seed, 1, num_threads);
}

double als_sweep(BiasedMF& model, const CsrView& by_user, const CsrView& by_item,
                 const SidePenalties& penalties, int num_threads, const Poll& poll) {
    Poll poll_items;
    if (poll) poll_items = [&](index_t done) { poll(by_user.nnz() + done); };
    double squared_error = 0.0;
    with_team(num_threads, [&] {
        solve_rows(by_user, model.item_side(), model.mean, penalties.user, num_threads, poll,
                   model.user_side());
        squared_error = solve_rows(by_item, model.user_side(), model.mean, penalties.item,
                                   num_threads, poll_items, model.item_side());
    });
    return squared_error;
}

}  // namespace isthmus
