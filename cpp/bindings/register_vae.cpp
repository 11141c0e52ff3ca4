#include <algorithm>
#include <memory>

#include "convert.hpp"
#include "isthmus/models/vae.hpp"
#include "layers.hpp"
#include "poll.hpp"
#include "pybind.hpp"
#include "registration.hpp"

namespace isthmus {

namespace {

using Units = std::vector<index_t>;

std::unique_ptr<MultinomialAutoencoder> make_multinomial(index_t inputs, const Units& encoder,
                                                         index_t latent, const Units& decoder,
                                                         const std::string& activation,
                                                         std::uint64_t seed, int num_threads) {
    require(inputs >= 1, "inputs must be at least 1");
    require(!encoder.empty(), "encoder must name at least one layer");
    require(latent >= 0, "latent must be at least 0");
    for (const Units& layers : {encoder, decoder}) {
        for (const index_t units : layers) require(units >= 1, "layers have at least one unit");
    }
    const MultinomialShape shape{inputs, encoder, latent, decoder,
                                 activation_from_name(activation)};
    const py::gil_scoped_release release;
    return std::make_unique<MultinomialAutoencoder>(shape, seed, num_threads);
}

py::array_t<float> bind_encode_multinomial(const MultinomialAutoencoder& model,
                                           const Array<std::int64_t>& indptr,
                                           const Array<std::int32_t>& indices,
                                           const OptionalArray<float>& weights, int num_threads) {
    CsrView rows = csr_pattern(indptr, indices, model.shape.inputs);
    rows.values = data_or_null(weights, indices.size(), "weights");
    py::array_t<float> codes({rows.rows, model.decoder.cols()});
    const MatrixView out{codes.mutable_data(), rows.rows, model.decoder.cols(),
                         model.decoder.cols()};
    const py::gil_scoped_release release;
    encode_multinomial(model, rows, num_threads, out);
    return codes;
}

std::unique_ptr<MultinomialTrainer> make_multinomial_trainer(
    MultinomialAutoencoder& model, index_t rows, const std::string& optimizer, float regularization,
    index_t batch_size, float dropout, const std::string& likelihood, index_t sampled_items,
    float noise, std::uint64_t seed, int num_threads, const std::string& precision) {
    require(batch_size >= 1, "batch_size must be at least 1");
    require(num_threads >= 1, "num_threads must be at least 1");
    MultinomialOptions options;
    options.optimizer = optimizer_options(optimizer);
    options.regularization = regularization;
    options.batch_size = batch_size;
    options.dropout = dropout;
    options.likelihood = likelihood_from_name(likelihood);
    require(sampled_items == 0 || options.likelihood == Likelihood::multinomial,
            "items are sampled for a multinomial likelihood alone");
    require(sampled_items >= 0, "sampled_items must be at least 0");
    options.sampled_items = sampled_items;
    options.noise = noise;
    options.precision = precision_from_name(precision);
    options.seed = seed;
    options.num_threads = num_threads;
    const py::gil_scoped_release release;
    return std::make_unique<MultinomialTrainer>(model, rows, options);
}

py::tuple run_multinomial_epoch(MultinomialTrainer& trainer, const Array<std::int64_t>& indptr,
                                const Array<std::int32_t>& indices, index_t cols, index_t epoch,
                                float learning_rate, double beta, double annealing,
                                index_t first_step, const OptionalArray<float>& weights,
                                const py::object& progress) {
    CsrView rows = csr_pattern(indptr, indices, cols);
    rows.values = data_or_null(weights, indices.size(), "weights");
    MultinomialResult result;
    {
        const auto poll = make_poll(progress);
        const auto schedule = [=](index_t step) {
            const auto updates = static_cast<double>(first_step + step);
            return static_cast<float>(annealing > 0.0 ? std::min(beta, updates / annealing) : beta);
        };
        const py::gil_scoped_release release;
        result = trainer.run_epoch(rows, epoch, learning_rate, schedule, poll);
    }
    return py::make_tuple(result.likelihood, result.divergence, result.rows);
}

void register_vae(py::module_& module) {
    py::class_<MultinomialAutoencoder>(module, "MultinomialAutoencoder", py::module_local(),
                                       "Sparse input, dense hidden layers, a softmax over all "
                                       "items; with latent > 0, a Gaussian code.")
        .def(py::init(&make_multinomial), py::arg("inputs"), py::arg("encoder"), py::arg("latent"),
             py::arg("decoder"), py::kw_only(), py::arg("activation"), py::arg("seed"),
             py::arg("num_threads") = 1)
        .def("weights", &layer_weights<MultinomialAutoencoder>,
             "NumPy views of the weights, by name; writing changes the model.")
        .def("encode", &bind_encode_multinomial, py::arg("indptr").noconvert(),
             py::arg("indices").noconvert(), py::kw_only(),
             py::arg("weights").noconvert() = py::none(), py::arg("num_threads") = 1,
             "What the decoder's weights are multiplied with (rows x units of the last layer).");

    py::class_<MultinomialTrainer>(module, "MultinomialTrainer", py::module_local(),
                                   "Trains a MultinomialAutoencoder.")
        .def(py::init(&make_multinomial_trainer), py::keep_alive<1, 2>(), py::arg("model"),
             py::arg("rows"), py::kw_only(), py::arg("optimizer"), py::arg("regularization"),
             py::arg("batch_size"), py::arg("dropout"), py::arg("likelihood") = "multinomial",
             py::arg("sampled_items") = 0, py::arg("noise") = 1.0f, py::arg("seed"),
             py::arg("num_threads"), py::arg("precision") = "float32")
        .def(
            "run_epoch", &run_multinomial_epoch, py::arg("indptr").noconvert(),
            py::arg("indices").noconvert(), py::arg("cols"), py::arg("epoch"),
            py::arg("learning_rate"), py::kw_only(), py::arg("beta"), py::arg("annealing"),
            py::arg("first_step") = 0, py::arg("weights").noconvert() = py::none(),
            py::arg("progress") = py::none(),
            "One pass; returns the negative log likelihood, the KL divergence, both summed over "
            "rows, and the rows. KL is weighed by min(beta, (first_step + steps) / annealing), and "
            "each cell's part of the likelihood by its weight.")
        .def_property_readonly("steps", &MultinomialTrainer::steps,
                               "Taken since the trainer was made.")
        .def("keep_best", &MultinomialTrainer::keep_best)
        .def("restore_best", &MultinomialTrainer::restore_best);
}

const Registration registration_of_vae(&register_vae);

}  // namespace

}  // namespace isthmus
