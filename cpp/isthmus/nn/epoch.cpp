#include "isthmus/nn/epoch.hpp"

#include <algorithm>
#include <cmath>

#include "isthmus/core/random.hpp"

namespace isthmus {

void EpochBatch::require_finite(double loss) const {
    if (!std::isfinite(loss)) throw Diverged(epoch, number);
}

std::vector<std::int32_t> shuffled(std::vector<std::int32_t> rows, std::uint64_t seed,
                                   index_t epoch) {
    shuffle(rows, seed, static_cast<std::uint32_t>(epoch));
    return rows;
}

void train_in_batches(const std::vector<std::int32_t>& order, index_t batch_rows, index_t epoch,
                      int num_threads, const Poll& poll,
                      const std::function<void(const EpochBatch&)>& train,
                      const std::function<void()>& settle) {
    const auto rows = static_cast<index_t>(order.size());
    with_team(num_threads, [&] {
        try {
            for (index_t begin = 0; begin < rows; begin += batch_rows) {
                if (poll) poll(begin);
                const index_t count = std::min(batch_rows, rows - begin);
                const double share = static_cast<double>(count) / static_cast<double>(rows);
                train({order.data() + begin, count, epoch, begin / batch_rows,
                       static_cast<float>(share)});
            }
        } catch (...) {
            if (settle) settle();
            throw;
        }
        if (settle) settle();
    });
}

}  // namespace isthmus
