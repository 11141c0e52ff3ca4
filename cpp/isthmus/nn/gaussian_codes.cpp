#include "isthmus/nn/gaussian_codes.hpp"

#include <algorithm>
#include <numeric>

#include "isthmus/core/simd.hpp"

namespace isthmus {

GaussianCodes::GaussianCodes(index_t rows, index_t latent) {
    if (latent == 0) return;
    noise_ = Matrix(rows, latent);
    deviation_ = Matrix(rows, latent);
    divergence_.resize(static_cast<std::size_t>(rows));
}

void GaussianCodes::sample(const Philox& draw, const std::int32_t* ids, float noise_scale,
                           const Matrix& layer, index_t begin, index_t end, Matrix& z) {
    if (divergence_.empty()) return;
    const index_t latent = noise_.cols();
    for (index_t r = begin; r < end; ++r) {
        const float* mean = layer.row(r);
        float *noise = noise_.row(r), *deviation = deviation_.row(r), *code = z.row(r);
        draw.normals(static_cast<std::uint32_t>(ids[r]), latent, noise);
        for (index_t j = 0; j < latent; ++j) noise[j] *= noise_scale;
        std::copy_n(mean, latent, code);
        std::copy_n(mean + latent, latent, deviation);
        for (index_t j = 0; j < latent; j += kLanes) {
            const Floats sigma = exp(0.5f * load(deviation + j));
            store(deviation + j, sigma);
            store(code + j, multiply_add(load(noise + j), sigma, load(code + j)));
        }
        std::fill(deviation + latent, deviation + round_up(latent, kLineFloats), 0.0f);

        double total = 0.0;
        for (index_t j = 0; j < latent; ++j) {
            total +=
                double{mean[j] * mean[j] + deviation[j] * deviation[j] - 1.0f - mean[latent + j]};
        }
        divergence_[static_cast<std::size_t>(r)] = 0.5 * total;
    }
}

double GaussianCodes::divergence(index_t rows) const {
    if (divergence_.empty()) return 0.0;
    return std::accumulate(divergence_.begin(), divergence_.begin() + rows, 0.0);
}

void GaussianCodes::propagate(const Matrix& layer, float weight, index_t begin, index_t end,
                              Matrix& error) const {
    const index_t latent = noise_.cols();
    for (index_t r = begin; r < end; ++r) {
        const float *mean = layer.row(r), *noise = noise_.row(r), *sigma = deviation_.row(r);
        float* e = error.row(r);
        for (index_t j = 0; j < latent; ++j) {
            e[latent + j] =
                e[j] * noise[j] * 0.5f * sigma[j] + weight * 0.5f * (sigma[j] * sigma[j] - 1.0f);
            e[j] += weight * mean[j];
        }
    }
}

}  // namespace isthmus
