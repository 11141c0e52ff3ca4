#pragma once
// Gaussian codes of a batch's rows, and their divergence from N(0, I).
//
// A layer computes means and log-variances (rows x 2 latent, the means first). The code is
// z = mean + noise x deviation, with deviation = exp(log-variance / 2).

#include <cstdint>
#include <vector>

#include "isthmus/core/random.hpp"
#include "isthmus/core/types.hpp"

namespace isthmus {

class GaussianCodes {
public:
    // For at most `rows` rows; with latent = 0 there are no codes, and nothing below does anything.
    GaussianCodes(index_t rows, index_t latent);

    // Draws z (rows x latent) for rows [begin, end), the noise by (draw, id of the row) alone.
    // Threads may share the rows out.
    void sample(const Philox& draw, const std::int32_t* ids, float noise_scale, const Matrix& layer,
                index_t begin, index_t end, Matrix& z);

    // KL of N(mean, deviation^2) from N(0, I), summed over the first `rows` rows.
    double divergence(index_t rows) const;

    // Turns the gradient with respect to z, in the first columns of `error` (rows x 2 latent), into
    // that with respect to the layer, and adds `weight` times the divergence's.
    void propagate(const Matrix& layer, float weight, index_t begin, index_t end,
                   Matrix& error) const;

private:
    Matrix noise_, deviation_;        // rows x latent
    std::vector<double> divergence_;  // per row; empty without codes
};

}  // namespace isthmus
