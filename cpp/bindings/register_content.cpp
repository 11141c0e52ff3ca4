#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cells.hpp"
#include "convert.hpp"
#include "isthmus/models/content_network.hpp"
#include "isthmus/models/content_trainer.hpp"
#include "isthmus/solvers/als.hpp"
#include "poll.hpp"
#include "pybind.hpp"
#include "registration.hpp"

namespace isthmus {

namespace {

std::unique_ptr<ContentNetwork> make_content_network(index_t inputs,
                                                     const std::vector<index_t>& hidden,
                                                     index_t latent, std::uint64_t seed,
                                                     int num_threads) {
    require(inputs >= 1, "inputs must be at least 1");
    require(latent >= 0, "latent must be at least 0");
    require(latent > 0 || !hidden.empty(), "there must be a hidden layer or a code");
    for (const index_t units : hidden) require(units >= 1, "layers have at least one unit");
    const py::gil_scoped_release release;
    return std::make_unique<ContentNetwork>(ContentShape{inputs, hidden, latent}, seed,
                                            num_threads);
}

py::dict content_weights(const py::object& self) {
    auto& model = self.cast<ContentNetwork&>();
    py::dict arrays;
    for (std::size_t l = 0; l < model.layers.size(); ++l) {
        ContentLayer& layer = model.layers[l];
        const std::string name = "layer." + std::to_string(l);
        arrays[py::str(name + ".weights")] = matrix_array(layer.weights, self);
        arrays[py::str(name + ".bias")] = matrix_array(layer.bias, self);
        if (!layer.own_decoder.empty()) {
            arrays[py::str(name + ".decoder_weights")] = matrix_array(layer.own_decoder, self);
        }
        arrays[py::str(name + ".decoder_bias")] = matrix_array(layer.decoder_bias, self);
    }
    return arrays;
}

void require_inputs(const CsrView& rows, index_t inputs) {
    require(rows.cols == inputs, "the matrix must have " + std::to_string(inputs) + " columns");
}

py::array_t<float> bind_encode_content(const ContentNetwork& model, const BoundCells& rows,
                                       int num_threads) {
    require_inputs(rows.view, model.shape.inputs);
    const index_t size = model.shape.outputs(model.shape.layers() - 1);
    py::array_t<float> codes({rows.view.rows, size});
    const MatrixView out{codes.mutable_data(), rows.view.rows, size, size};
    const py::gil_scoped_release release;
    encode_content(model, rows.view, num_threads, out);
    return codes;
}

// A trainer with its matrix, so that both have one shape.
struct BoundContentTrainer {
    BoundCells rows;
    index_t inputs, latent;
    ContentTrainer trainer;
};

std::unique_ptr<BoundContentTrainer> make_content_trainer(ContentNetwork& model,
                                                          const BoundCells& rows,
                                                          const std::string& optimizer,
                                                          float regularization, index_t batch_size,
                                                          float corruption, std::uint64_t seed,
                                                          int num_threads) {
    require_inputs(rows.view, model.shape.inputs);
    require(batch_size >= 1, "batch_size must be at least 1");
    require(num_threads >= 1, "num_threads must be at least 1");
    require(corruption >= 0.0f && corruption < 1.0f, "corruption must lie in [0, 1)");
    const ContentOptions options{
        optimizer_options(optimizer), regularization, batch_size, corruption, seed, num_threads};
    const auto filled = static_cast<index_t>(filled_rows(rows.view).size());
    return std::unique_ptr<BoundContentTrainer>(new BoundContentTrainer{
        rows, model.shape.inputs, model.shape.latent, {model, filled, options}});
}

py::tuple run_content_epoch(BoundContentTrainer& self, index_t epoch, float learning_rate,
                            const std::optional<py::array_t<float>>& target, float target_weight,
                            const py::object& progress) {
    CodeTarget drawn;
    if (target) {
        drawn = {matrix_view(*target, "target"), target_weight};
        require(drawn.codes.rows == self.rows.view.rows && drawn.codes.cols == self.latent,
                "target must have a row of latent numbers for each of the matrix");
    }
    ContentResult result;
    {
        const auto poll = make_poll(progress);
        const py::gil_scoped_release release;
        result = self.trainer.run_epoch(self.rows.view, drawn, epoch, learning_rate, poll);
    }
    return py::make_tuple(result.reconstruction, result.divergence, result.distance, result.rows);
}

py::array_t<float> bind_factor_gram(const py::array_t<float>& factors, int num_threads) {
    const ConstMatrixView rows = matrix_view(factors, "factors");
    py::array_t<float> products({rows.cols, rows.cols});
    const MatrixView out{products.mutable_data(), rows.cols, rows.cols, rows.cols};
    const py::gil_scoped_release release;
    factor_gram(rows, num_threads, out);
    return products;
}

py::tuple bind_solve_implicit_rows(const BoundCells& cells, const py::array_t<float>& factors,
                                   const py::array_t<float>& gram, float positive, float other,
                                   float regularization,
                                   const std::optional<py::array_t<float>>& prior,
                                   int num_threads) {
    const ConstMatrixView fixed = matrix_view(factors, "factors");
    const ConstMatrixView products = matrix_view(gram, "gram");
    const index_t k = fixed.cols;
    require(fixed.rows == cells.view.cols, "factors must have a row per column of the matrix");
    require(products.rows == k && products.cols == k, "gram must be of the factors' size");
    require(other >= 0.0f && positive > other, "positive must be above other, and that at least 0");
    const ConstMatrixView mean = prior ? matrix_view(*prior, "prior") : ConstMatrixView{};
    require(!prior || (mean.rows == cells.view.rows && mean.cols == k),
            "prior must have a row of factors per row of the matrix");
    py::array_t<float> solved({cells.view.rows, k});
    const MatrixView out{solved.mutable_data(), cells.view.rows, k, k};
    double error = 0.0;
    {
        const py::gil_scoped_release release;
        error = solve_implicit_rows(cells.view, fixed, products, {positive, other}, regularization,
                                    mean, num_threads, {}, out);
    }
    return py::make_tuple(solved, error);
}

void register_content(py::module_& module) {
    py::class_<ContentNetwork>(module, "ContentNetwork", py::module_local(),
                               "Sparse input in [0, 1], sigmoid layers, a Gaussian code if latent "
                               "> 0, and a decoder of the same weights.")
        .def(py::init(&make_content_network), py::arg("inputs"), py::arg("hidden"),
             py::arg("latent"), py::kw_only(), py::arg("seed"), py::arg("num_threads") = 1)
        .def("weights", &content_weights,
             "NumPy views of the weights, by name; writing changes the model.")
        .def("encode", &bind_encode_content, py::arg("rows"), py::kw_only(),
             py::arg("num_threads") = 1,
             "Means of the codes, or the top layer (rows x latent or its units).");

    py::class_<BoundContentTrainer>(module, "ContentTrainer", py::module_local(),
                                    "Trains a ContentNetwork on rows.")
        .def(py::init(&make_content_trainer), py::keep_alive<1, 2>(), py::arg("model"),
             py::arg("rows"), py::kw_only(), py::arg("optimizer"), py::arg("regularization"),
             py::arg("batch_size"), py::arg("corruption"), py::arg("seed"), py::arg("num_threads"))
        .def("run_epoch", &run_content_epoch, py::arg("epoch"), py::arg("learning_rate"),
             py::kw_only(), py::arg("target") = py::none(), py::arg("target_weight") = 0.0f,
             py::arg("progress") = py::none(),
             "One pass; returns the cross-entropy, the KL divergence, the squared distance of the "
             "codes from their target, all summed over rows, and the rows.")
        .def("keep_best", [](BoundContentTrainer& self) { self.trainer.keep_best(); })
        .def("restore_best", [](BoundContentTrainer& self) { self.trainer.restore_best(); });

    module.def("factor_gram", &bind_factor_gram, py::arg("factors"), py::kw_only(),
               py::arg("num_threads") = 1,
               "factors^T factors, the same to the bit at any number of threads.");
    module.def("solve_implicit_rows", &bind_solve_implicit_rows, py::arg("cells"),
               py::arg("factors"), py::arg("gram"), py::kw_only(), py::arg("positive"),
               py::arg("other"), py::arg("regularization"), py::arg("prior") = py::none(),
               py::arg("num_threads") = 1,
               "Factors (rows x k) of each row of implicit feedback, from those of the columns and "
               "the products of the columns that count; and the weighted squared error.");
}

const Registration registration_of_content(&register_content);

}  // namespace

}  // namespace isthmus
