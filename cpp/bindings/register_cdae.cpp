#include <memory>

#include "convert.hpp"
#include "isthmus/batches/negatives.hpp"
#include "isthmus/core/random.hpp"
#include "isthmus/models/cdae.hpp"
#include "poll.hpp"
#include "pybind.hpp"
#include "registration.hpp"

namespace isthmus {

namespace {

std::unique_ptr<Cdae> make_cdae(index_t users, index_t items, index_t units,
                                const std::string& activation, bool logistic, bool tied,
                                std::uint64_t seed, int num_threads) {
    require(users >= 1 && items >= 1 && units >= 1, "users, items and units must be at least 1");
    const CdaeShape shape{users, items, units, activation_from_name(activation), logistic, tied};
    const py::gil_scoped_release release;
    return std::make_unique<Cdae>(shape, seed, num_threads);
}

py::dict cdae_weights(const py::object& self) {
    auto& model = self.cast<Cdae&>();
    py::dict arrays;
    arrays["encoder.weights"] = matrix_array(model.encoder, self);
    arrays["encoder.bias"] = matrix_array(model.encoder_bias, self);
    arrays["users"] = matrix_array(model.users, self);
    if (!model.shape.tied) arrays["decoder.weights"] = matrix_array(model.decoder, self);
    arrays["decoder.bias"] = matrix_array(model.decoder_bias, self);
    return arrays;
}

py::array_t<float> bind_encode_cdae(const Cdae& model, const Array<std::int64_t>& indptr,
                                    const Array<std::int32_t>& indices, const Array<float>& values,
                                    bool known, int num_threads) {
    const CsrView rows = csr_view(indptr, indices, values, model.shape.items);
    require(!known || rows.rows <= model.shape.users, "there are more rows than users");
    py::array_t<float> codes({rows.rows, model.shape.units});
    const MatrixView out{codes.mutable_data(), rows.rows, model.shape.units, model.shape.units};
    const py::gil_scoped_release release;
    encode_cdae(model, rows, known, num_threads, out);
    return codes;
}

std::unique_ptr<CdaeTrainer> make_cdae_trainer(Cdae& model, const std::string& optimizer,
                                               float regularization, index_t batch_size,
                                               index_t cells, index_t negatives, float corruption,
                                               std::uint64_t seed, int num_threads) {
    require(batch_size >= 1, "batch_size must be at least 1");
    require(negatives >= 0, "negatives must be at least 0");
    require(num_threads >= 1, "num_threads must be at least 1");
    CdaeOptions options;
    options.optimizer = optimizer_options(optimizer);
    options.regularization = regularization;
    options.batch_size = batch_size;
    options.cells = cells;
    options.negatives = negatives;
    options.corruption = corruption;
    options.seed = seed;
    options.num_threads = num_threads;
    const py::gil_scoped_release release;
    return std::make_unique<CdaeTrainer>(model, options);
}

py::tuple run_cdae_epoch(CdaeTrainer& trainer, const Array<std::int64_t>& indptr,
                         const Array<std::int32_t>& indices, index_t epoch, float learning_rate,
                         const OptionalArray<float>& weights, const py::object& progress) {
    const CdaeShape& shape = trainer.shape();
    CsrView rows = ascending_pattern(indptr, indices, shape.items);
    rows.values = data_or_null(weights, indices.size(), "weights");
    require(rows.rows == shape.users, "there must be a row per user");
    CdaeResult result;
    {
        const auto poll = make_poll(progress);
        const py::gil_scoped_release release;
        result = trainer.run_epoch(rows, epoch, learning_rate, poll);
    }
    return py::make_tuple(result.loss, result.cells);
}

// Returns a row's sampled negatives, for tests.
py::array_t<std::int32_t> bind_sample_negatives(std::uint64_t seed, std::uint32_t epoch,
                                                std::uint32_t row,
                                                const Array<std::int32_t>& positives, index_t items,
                                                index_t count) {
    for (index_t i = 0; i < positives.size(); ++i) {
        const std::int32_t item = positives.data()[i];
        require(item < items && item > (i == 0 ? -1 : positives.data()[i - 1]),
                "positives must ascend within the items");
    }
    ItemSet chosen(items);
    std::vector<std::int32_t> out;
    sample_negatives(Philox(seed, Stream::negatives, epoch), row, positives.data(),
                     positives.size(), items, count, chosen, out);
    return py::array_t<std::int32_t>(static_cast<py::ssize_t>(out.size()), out.data());
}

void register_cdae(py::module_& module) {
    py::class_<Cdae>(module, "Cdae", py::module_local(),
                     "An autoencoder of implicit feedback with a node of each user's own.")
        .def(py::init(&make_cdae), py::arg("users"), py::arg("items"), py::arg("units"),
             py::kw_only(), py::arg("activation"), py::arg("logistic"), py::arg("tied"),
             py::arg("seed"), py::arg("num_threads") = 1)
        .def("weights", &cdae_weights,
             "NumPy views of the weights, by name; writing changes the model.")
        .def("encode", &bind_encode_cdae, py::arg("indptr").noconvert(),
             py::arg("indices").noconvert(), py::arg("values").noconvert(), py::kw_only(),
             py::arg("known"), py::arg("num_threads") = 1,
             "Codes (rows x units) of rows of ones, of the first users or, not known, of others.");

    py::class_<CdaeTrainer>(module, "CdaeTrainer", py::module_local(), "Trains a Cdae.")
        .def(py::init(&make_cdae_trainer), py::keep_alive<1, 2>(), py::arg("model"), py::kw_only(),
             py::arg("optimizer"), py::arg("regularization"), py::arg("batch_size"),
             py::arg("cells"), py::arg("negatives"), py::arg("corruption"), py::arg("seed"),
             py::arg("num_threads"))
        .def("run_epoch", &run_cdae_epoch, py::arg("indptr").noconvert(),
             py::arg("indices").noconvert(), py::arg("epoch"), py::arg("learning_rate"),
             py::kw_only(), py::arg("weights").noconvert() = py::none(),
             py::arg("progress") = py::none(),
             "One pass; returns the loss, summed over positives, each as often as its weight says, "
             "and negatives, and their number.")
        .def("keep_best", &CdaeTrainer::keep_best)
        .def("restore_best", &CdaeTrainer::restore_best);

    module.def("sample_negatives", &bind_sample_negatives, py::arg("seed"), py::arg("epoch"),
               py::arg("row"), py::arg("positives"), py::arg("items"), py::arg("count"),
               "The items that a user's row is contrasted with in an epoch.");
}

const Registration registration_of_cdae(&register_cdae);

}  // namespace

}  // namespace isthmus
