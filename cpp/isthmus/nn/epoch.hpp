#pragma once
// The loop over an epoch's batches, which all trainers share.

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "isthmus/core/parallel.hpp"
#include "isthmus/core/types.hpp"

namespace isthmus {

// The loss is no longer a finite number.
struct Diverged : std::runtime_error {
    Diverged(index_t epoch, index_t batch)
        : std::runtime_error("training diverged in epoch " + std::to_string(epoch + 1) +
                             ", batch " + std::to_string(batch + 1) +
                             ": the loss is no longer finite") {}
};

// Rows of a matrix that a step is taken on.
struct EpochBatch {
    const std::int32_t* ids;
    index_t count;
    index_t epoch, number;
    float share;  // of the epoch's rows

    // Throws Diverged if the batch's loss is not finite.
    void require_finite(double loss) const;
};

// Rows in the order in which an epoch takes them.
std::vector<std::int32_t> shuffled(std::vector<std::int32_t> rows, std::uint64_t seed,
                                   index_t epoch);

// Calls train(batch) on one batch of at most `batch_rows` rows of `order` after the other, with a
// team of threads ready for the loops inside, and poll(rows done) before each. Calls settle() (or
// nothing) at the end, also where poll or train throws.
void train_in_batches(const std::vector<std::int32_t>& order, index_t batch_rows, index_t epoch,
                      int num_threads, const Poll& poll,
                      const std::function<void(const EpochBatch&)>& train,
                      const std::function<void()>& settle = {});

}  // namespace isthmus
