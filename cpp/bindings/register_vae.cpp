#include <algorithm>
#include <memory>

#include "convert.hpp"
#include "isthmus/models/vae.hpp"
#include "layers.hpp"
#include "poll.hpp"
#include "pybind.hpp"
#include "registration.hpp"
#include "split.hpp"

namespace isthmus {

namespace {

using Units = std::vector<index_t>;

std::unique_ptr<MultinomialAutoencoder> make_multinomial(index_t inputs, const Units& encoder,
                                                         index_t latent, const Units& decoder,
                                                         const std::string& activation,
                                                         std::uint64_t seed, int num_threads,
                                                         const OptionalArray<std::int32_t>& columns,
                                                         index_t all_columns) {
    require(inputs >= 1, "inputs must be at least 1");
    require(!encoder.empty(), "encoder must name at least one layer");
    require(latent >= 0, "latent must be at least 0");
    for (const Units& layers : {encoder, decoder}) {
        for (const index_t units : layers) require(units >= 1, "layers have at least one unit");
    }
    const MultinomialShape shape{inputs, encoder, latent, decoder,
                                 activation_from_name(activation)};
    const InputShare share{of_columns(columns, inputs, "columns"), all_columns};
    require(!columns || all_columns >= 1, "all_columns must be at least 1 with columns");
    const py::gil_scoped_release release;
    return std::make_unique<MultinomialAutoencoder>(shape, seed, num_threads, share);
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

using Slices = std::vector<std::pair<index_t, index_t>>;

ItemShare item_share(index_t inputs, const OptionalArray<std::int32_t>& columns,
                     const Slices& slices, index_t machine, index_t machines) {
    ItemShare share;
    share.numbers = of_columns(columns, inputs, "columns");
    require(columns || (slices.empty() && machines == 1),
            "columns must come with slices and with machines");
    require(0 <= machine && machine < machines, "machine must be less than machines");
    index_t least = 0;
    for (const auto& [begin, end] : slices) {
        require(least <= begin && begin < end && end <= inputs && begin % kLineFloats == 0,
                "slices must ascend within the columns, and begin on cache lines");
        least = end;
        share.slices.push_back({begin, end});
    }
    share.machine = machine;
    share.machines = machines;
    return share;
}

std::unique_ptr<MultinomialTrainer> make_multinomial_trainer(
    MultinomialAutoencoder& model, index_t rows, const std::string& optimizer, float regularization,
    index_t batch_size, float dropout, const std::string& likelihood, index_t sampled_items,
    float noise, std::uint64_t seed, int num_threads, const std::string& precision,
    const OptionalArray<std::int32_t>& columns, const Slices& slices, index_t machine,
    index_t machines) {
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
    options.share = item_share(model.shape.inputs, columns, slices, machine, machines);
    require(!columns || sampled_items == 0, "items are sampled where one machine has all");
    const py::gil_scoped_release release;
    return std::make_unique<MultinomialTrainer>(model, rows, options);
}

// Rows that are split over machines, if there is a function that adds up; it must outlive them.
std::optional<SplitRows> split_rows_of(const MultinomialTrainer& trainer, const py::object& reduce,
                                       const OptionalArray<std::int32_t>& filled,
                                       const OptionalArray<double>& ones, index_t rows) {
    require(reduce.is_none() != trainer.is_split(), "reduce must come with a trainer's columns");
    require(reduce.is_none() == !ones, "row_ones must come with reduce");
    if (reduce.is_none()) return {};
    SplitRows split;
    split.reduce = make_reduction(reduce, trainer.by_slices());
    if (filled) split.filled = filled_rows_of(*filled, rows);
    split.ones = data_or_null(ones, rows, "row_ones");
    return split;
}

py::tuple run_multinomial_epoch(MultinomialTrainer& trainer, const Array<std::int64_t>& indptr,
                                const Array<std::int32_t>& indices, index_t cols, index_t epoch,
                                float learning_rate, double beta, double annealing,
                                index_t first_step, const OptionalArray<float>& weights,
                                const py::object& progress, const py::object& reduce,
                                const OptionalArray<std::int32_t>& filled,
                                const OptionalArray<double>& row_ones) {
    CsrView rows = csr_pattern(indptr, indices, cols);
    rows.values = data_or_null(weights, indices.size(), "weights");
    MultinomialResult result;
    {
        const auto poll = make_poll(progress);
        require(reduce.is_none() == !filled, "filled must come with reduce");
        const auto split = split_rows_of(trainer, reduce, filled, row_ones, rows.rows);
        const auto schedule = [=](index_t step) {
            const auto updates = static_cast<double>(first_step + step);
            return static_cast<float>(annealing > 0.0 ? std::min(beta, updates / annealing) : beta);
        };
        const py::gil_scoped_release release;
        result = trainer.run_epoch(rows, epoch, learning_rate, schedule, poll,
                                   split ? &*split : nullptr);
    }
    return py::make_tuple(result.likelihood, result.divergence, result.rows);
}

py::array_t<float> encode_split(MultinomialTrainer& trainer, const Array<std::int64_t>& indptr,
                                const Array<std::int32_t>& indices, const py::object& reduce,
                                const Array<double>& row_ones,
                                const OptionalArray<float>& weights) {
    CsrView rows = csr_pattern(indptr, indices, trainer.model().shape.inputs);
    rows.values = data_or_null(weights, indices.size(), "weights");
    const auto split = split_rows_of(trainer, reduce, {}, row_ones, rows.rows);
    require(split.has_value(), "reduce must not be None");
    const index_t units = trainer.model().decoder.cols();
    py::array_t<float> codes({rows.rows, units});
    const MatrixView out{codes.mutable_data(), rows.rows, units, units};
    const py::gil_scoped_release release;
    trainer.encode(rows, *split, out);
    return codes;
}

void register_vae(py::module_& module) {
    py::class_<MultinomialAutoencoder>(module, "MultinomialAutoencoder", py::module_local(),
                                       "Sparse input, dense hidden layers, a softmax over all "
                                       "items; with latent > 0, a Gaussian code.")
        .def(py::init(&make_multinomial), py::arg("inputs"), py::arg("encoder"), py::arg("latent"),
             py::arg("decoder"), py::kw_only(), py::arg("activation"), py::arg("seed"),
             py::arg("num_threads") = 1, py::arg("columns") = py::none(),
             py::arg("all_columns") = 0,
             "If items are split over machines, `columns` are the numbers of this one's among "
             "`all_columns`, and the first weights are their share of what one machine draws.")
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
             py::arg("num_threads"), py::arg("precision") = "float32",
             py::arg("columns") = py::none(), py::arg("slices") = Slices(), py::arg("machine") = 0,
             py::arg("machines") = 1,
             "If items are split over machines, `columns` are the numbers of this one's among all, "
             "and `slices` (begin, end) those of its items whose sums are taken alone, each from a "
             "multiple of 16 on.")
        .def(
            "run_epoch", &run_multinomial_epoch, py::arg("indptr").noconvert(),
            py::arg("indices").noconvert(), py::arg("cols"), py::arg("epoch"),
            py::arg("learning_rate"), py::kw_only(), py::arg("beta"), py::arg("annealing"),
            py::arg("first_step") = 0, py::arg("weights").noconvert() = py::none(),
            py::arg("progress") = py::none(), py::arg("reduce") = py::none(),
            py::arg("filled") = py::none(), py::arg("row_ones") = py::none(),
            "One pass; returns the negative log likelihood, the KL divergence, both summed over "
            "rows, and the rows. KL is weighed by min(beta, (first_step + steps) / annealing), and "
            "each cell's part of the likelihood by its weight. With items that are split, "
            "`reduce(sums, parts)` adds a block up over the machines, as `Trainer.run_epoch` says; "
            "`filled` are the rows that have a cell on any, and `row_ones` is each row's weight on "
            "all of them.")
        .def("encode", &encode_split, py::arg("indptr").noconvert(), py::arg("indices").noconvert(),
             py::kw_only(), py::arg("reduce"), py::arg("row_ones").noconvert(),
             py::arg("weights").noconvert() = py::none(),
             "What MultinomialAutoencoder.encode returns, of rows whose items are split.")
        .def("state", &optimizer_state<MultinomialTrainer>,
             "Views of the optimizer's state, as \"encoder.weights.0\".")
        .def("best", &best_weights<MultinomialTrainer>,
             "Views of the weights that were kept, or none.")
        .def_property("step", &MultinomialTrainer::steps, &MultinomialTrainer::set_steps,
                      "Steps taken so far.")
        .def("keep_best", &MultinomialTrainer::keep_best)
        .def("restore_best", &MultinomialTrainer::restore_best);
}

const Registration registration_of_vae(&register_vae);

}  // namespace

}  // namespace isthmus
