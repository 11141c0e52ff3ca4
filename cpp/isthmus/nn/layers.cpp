#include "isthmus/nn/layers.hpp"

#include <cmath>
#include <numeric>

#include "isthmus/core/parallel.hpp"
#include "isthmus/core/random.hpp"

namespace isthmus {

void initialize_uniform(Matrix& weights, std::uint64_t seed, int layer, int num_threads,
                        const InputShare& share) {
    const bool has_all = share.numbers.empty();
    const index_t rows = has_all ? weights.rows() : share.total;
    const float limit = std::sqrt(6.0f / static_cast<float>(rows + weights.cols()));
    const Philox draw(seed, Stream::initialization + layer, 0);
    std::vector<std::int32_t> units(static_cast<std::size_t>(weights.cols()));
    std::iota(units.begin(), units.end(), 0);
    parallel_ranges(weights.rows(), 64, num_threads, [&](index_t begin, index_t end) {
        std::vector<std::uint32_t> words(units.size());
        for (index_t r = begin; r < end; ++r) {
            const index_t number = has_all ? r : share.numbers[static_cast<std::size_t>(r)];
            draw.words(static_cast<std::uint32_t>(number), units.data(), weights.cols(),
                       words.data());
            float* row = weights.row(r);
            for (index_t j = 0; j < weights.cols(); ++j) {
                const float u = Philox::to_uniform(words[static_cast<std::size_t>(j)]);
                row[j] = limit * (2.0f * u - 1.0f);
            }
        }
    });
}

void initialize_normal(Matrix& weights, float deviation, std::uint64_t seed, int layer,
                       int num_threads) {
    const Philox draw(seed, Stream::initialization + layer, 0);
    parallel_ranges(weights.rows(), 64, num_threads, [&](index_t begin, index_t end) {
        for (index_t r = begin; r < end; ++r) {
            for (index_t j = 0; j < weights.cols(); ++j) {
                weights.row(r)[j] = deviation * draw.normal(static_cast<std::uint32_t>(r),
                                                            static_cast<std::uint32_t>(j));
            }
        }
    });
}

LayerStack::LayerStack(index_t inputs, const std::vector<Size>& layers, std::uint64_t seed,
                       int num_threads, const InputShare& share)
    : encoder(inputs, layers.front().units),
      encoder_bias(1, layers.front().units),
      decoder(inputs, layers.back().outputs),
      decoder_bias(1, inputs) {
    int layer = 0;
    initialize_uniform(encoder, seed, layer++, num_threads, share);
    for (std::size_t l = 1; l < layers.size(); ++l) {
        hidden.push_back(
            {Matrix(layers[l - 1].outputs, layers[l].units), Matrix(1, layers[l].units)});
        initialize_uniform(hidden.back().weights, seed, layer++, num_threads);
    }
    initialize_uniform(decoder, seed, layer, num_threads, share);
}

std::vector<Matrix*> LayerStack::parameters() {
    std::vector<Matrix*> all = {&encoder, &encoder_bias, &decoder, &decoder_bias};
    for (DenseLayer& layer : hidden) {
        all.push_back(&layer.weights);
        all.push_back(&layer.bias);
    }
    return all;
}

TrainedStack::TrainedStack(LayerStack& layers, OptimizerKind kind, Precision precision)
    : encoder(layers.encoder, kind, precision),
      encoder_bias(layers.encoder_bias, kind),
      decoder(layers.decoder, kind, precision),
      decoder_bias(layers.decoder_bias, kind) {
    bias_gradient.emplace_back(1, layers.encoder_bias.cols());
    for (DenseLayer& layer : layers.hidden) {
        hidden.emplace_back(layer.weights, kind);
        hidden_bias.emplace_back(layer.bias, kind);
        hidden_gradient.emplace_back(layer.weights.rows(), layer.weights.cols());
        bias_gradient.emplace_back(1, layer.bias.cols());
    }
}

std::vector<Parameter*> TrainedStack::parameters() {
    std::vector<Parameter*> all = {&encoder, &encoder_bias, &decoder, &decoder_bias};
    for (std::size_t l = 0; l < hidden.size(); ++l) {
        all.push_back(&hidden[l]);
        all.push_back(&hidden_bias[l]);
    }
    return all;
}

std::vector<Matrix*> TrainedStack::state() {
    std::vector<Matrix*> all;
    for (Parameter* parameter : parameters()) {
        for (Matrix& state : parameter->state) all.push_back(&state);
    }
    return all;
}

}  // namespace isthmus
