#include <algorithm>
#include <memory>
#include <utility>
#include <variant>

#include "convert.hpp"
#include "isthmus/models/autoencoder_trainer.hpp"
#include "isthmus/nn/epoch.hpp"
#include "layers.hpp"
#include "poll.hpp"
#include "pybind.hpp"
#include "registration.hpp"
#include "split.hpp"

namespace isthmus {

namespace {

// A sparse matrix with what turns its values into inputs and targets. It holds the arrays, so that
// they outlive a kernel that runs without the GIL.
struct Rows {
    Array<std::int64_t> indptr;
    Array<std::int32_t> indices;
    Array<float> values;
    OptionalArray<float> input_offset, target_offset, input_factor, column_offset, cell_offset,
        cell_weight;
    CsrView matrix;
    RowTransform transform;

    Rows(Array<std::int64_t> indptr_, Array<std::int32_t> indices_, Array<float> values_,
         index_t cols, OptionalArray<float> input_offset_, OptionalArray<float> target_offset_,
         float input_scale, float target_scale, OptionalArray<float> input_factor_,
         OptionalArray<float> column_offset_, OptionalArray<float> cell_offset_,
         OptionalArray<float> cell_weight_)
        : indptr(std::move(indptr_)),
          indices(std::move(indices_)),
          values(std::move(values_)),
          input_offset(std::move(input_offset_)),
          target_offset(std::move(target_offset_)),
          input_factor(std::move(input_factor_)),
          column_offset(std::move(column_offset_)),
          cell_offset(std::move(cell_offset_)),
          cell_weight(std::move(cell_weight_)),
          matrix(csr_view(indptr, indices, values, cols)) {
        transform.input_offset = data_or_null(input_offset, matrix.rows, "input_offset");
        transform.target_offset = data_or_null(target_offset, matrix.rows, "target_offset");
        transform.input_scale = input_scale;
        transform.target_scale = target_scale;
        transform.input_factor = data_or_null(input_factor, matrix.rows, "input_factor");
        transform.column_offset = data_or_null(column_offset, matrix.cols, "column_offset");
        transform.cell_offset = data_or_null(cell_offset, values.size(), "cell_offset");
        transform.cell_weight = data_or_null(cell_weight, values.size(), "cell_weight");
    }
};

AutoencoderShape autoencoder_shape(index_t inputs, const std::vector<index_t>& hidden,
                                   const std::string& hidden_activation,
                                   const std::string& output_activation) {
    require(inputs >= 1, "inputs must be at least 1");
    require(!hidden.empty(), "hidden must name at least one layer");
    for (const index_t units : hidden) require(units >= 1, "hidden layers have at least one unit");
    return {inputs, hidden, activation_from_name(hidden_activation),
            activation_from_name(output_activation)};
}

Corruption corruption_from_name(const std::string& name) {
    if (name == "none") return Corruption::none;
    if (name == "mask") return Corruption::mask;
    if (name == "gaussian") return Corruption::gaussian;
    throw std::invalid_argument("unknown corruption '" + name + "': choose none, mask or gaussian");
}

std::unique_ptr<Trainer> make_autoencoder_trainer(
    Autoencoder& model, const Array<std::int64_t>& popularity, index_t rows,
    const std::string& optimizer, float momentum, float regularization, index_t batch_size,
    const std::string& corruption, float corruption_level, float dropout, std::uint64_t seed,
    int num_threads, std::optional<float> hidden_regularization, bool transposed,
    float bias_regularization, const std::string& precision,
    const OptionalArray<std::int32_t>& columns, const OptionalArray<std::int32_t>& rounding,
    const OptionalArray<std::int32_t>& slice_of) {
    require(popularity.size() == model.shape.inputs, "popularity must have a value per input");
    require(batch_size >= 1, "batch_size must be at least 1");
    require(num_threads >= 1, "num_threads must be at least 1");
    TrainingOptions options;
    options.optimizer = optimizer_options(optimizer);
    options.optimizer.momentum = momentum;
    options.regularization = regularization;
    options.hidden_regularization = hidden_regularization.value_or(regularization);
    options.batch_size = batch_size;
    options.corruption = corruption_from_name(corruption);
    options.corruption_level = corruption_level;
    options.dropout = dropout;
    options.seed = seed;
    options.num_threads = num_threads;
    options.transposed = transposed;
    options.precision = precision_from_name(precision);
    options.bias_regularization = bias_regularization;
    options.columns = of_columns(columns, model.shape.inputs, "columns");
    options.rounding = of_columns(rounding, model.shape.inputs, "rounding");
    options.slice_of = of_columns(slice_of, model.shape.inputs, "slice_of");
    const std::vector<std::int64_t> counts(popularity.data(),
                                           popularity.data() + popularity.size());
    const py::gil_scoped_release release;
    return std::make_unique<Trainer>(model, counts, rows, options);
}

py::tuple run_autoencoder_epoch(Trainer& trainer, const Rows& rows, index_t epoch,
                                const std::variant<float, Array<float>>& learning_rate,
                                const py::object& progress, const py::object& reduce,
                                const OptionalArray<std::int32_t>& filled,
                                OptionalArray<float> predictions) {
    require(rows.matrix.cols == trainer.inputs(), "rows must have a column per input");
    std::vector<float> rates;
    if (const auto* each = std::get_if<Array<float>>(&learning_rate)) {
        rates.assign(each->data(), each->data() + each->size());
    } else {
        rates.push_back(std::get<float>(learning_rate));
    }
    require(!predictions || predictions->size() == rows.values.size(),
            "predictions must have a value per cell");
    float* const stored = predictions ? predictions->mutable_data() : nullptr;
    std::optional<std::vector<std::int32_t>> chosen;
    if (filled) chosen = filled_rows_of(*filled, rows.matrix.rows);
    EpochResult result;
    {
        const auto poll = make_poll(progress);
        const auto reduction = make_reduction(reduce, trainer.by_slices());
        const py::gil_scoped_release release;
        result = trainer.run_epoch(rows.matrix, rows.transform, epoch, rates, poll, reduction,
                                   chosen, stored);
    }
    return py::make_tuple(result.squared_error, result.cells);
}

py::tuple bind_evaluate(Trainer& trainer, const Rows& rows, index_t epoch,
                        const py::object& progress) {
    require(rows.matrix.cols == trainer.inputs(), "rows must have a column per input");
    Evaluation result;
    {
        const auto poll = make_poll(progress);
        const py::gil_scoped_release release;
        result = trainer.evaluate(rows.matrix, rows.transform, epoch, poll);
    }
    return py::make_tuple(result.loss(), result.errors.squared_error, result.errors.cells);
}

py::dict bind_gradients(const py::object& self) {
    return arrays_by_weight(self.cast<Trainer&>().gradients(), self);
}

void register_autoencoder(py::module_& module) {
    py::register_local_exception<Diverged>(module, "Diverged", PyExc_RuntimeError);

    py::class_<Rows>(module, "Rows", py::module_local(),
                     "CSR rows to train on or to encode; a row's stored values v become inputs "
                     "(v - input_offset) * input_scale * input_factor and targets (v - "
                     "target_offset - column_offset) * target_scale - cell_offset. A cell's loss "
                     "counts cell_weight times. The arrays are not copied, and cell_offset may be "
                     "written to between epochs.")
        .def(
            py::init<Array<std::int64_t>, Array<std::int32_t>, Array<float>, index_t,
                     OptionalArray<float>, OptionalArray<float>, float, float, OptionalArray<float>,
                     OptionalArray<float>, OptionalArray<float>, OptionalArray<float>>(),
            py::arg("indptr").noconvert(), py::arg("indices").noconvert(),
            py::arg("values").noconvert(), py::arg("cols"), py::kw_only(),
            py::arg("input_offset") = py::none(), py::arg("target_offset") = py::none(),
            py::arg("input_scale") = 1.0f, py::arg("target_scale") = 1.0f,
            py::arg("input_factor") = py::none(), py::arg("column_offset") = py::none(),
            py::arg("cell_offset") = py::none(), py::arg("cell_weight") = py::none());

    py::class_<Autoencoder>(module, "Autoencoder", py::module_local(),
                            "Sparse input, dense hidden layers, masked output.")
        .def(py::init([](index_t inputs, const std::vector<index_t>& hidden,
                         const std::string& hidden_activation, const std::string& output_activation,
                         std::uint64_t seed, int num_threads,
                         const OptionalArray<std::int32_t>& columns, index_t all_columns) {
                 const AutoencoderShape shape =
                     autoencoder_shape(inputs, hidden, hidden_activation, output_activation);
                 const InputShare share{of_columns(columns, inputs, "columns"), all_columns};
                 require(!columns || all_columns >= inputs,
                         "all_columns must be at least as many as columns");
                 const py::gil_scoped_release release;
                 return std::make_unique<Autoencoder>(shape, seed, num_threads, share);
             }),
             py::arg("inputs"), py::arg("hidden"), py::kw_only(), py::arg("hidden_activation"),
             py::arg("output_activation"), py::arg("seed"), py::arg("num_threads") = 1,
             py::arg("columns") = py::none(), py::arg("all_columns") = 0,
             "If columns are split over machines, `columns` are the numbers of this one's among "
             "`all_columns`, and the first weights are their share of what one machine draws.")
        .def("weights", &layer_weights<Autoencoder>,
             "NumPy views of the weights, by name; writing changes the model.")
        .def(
            "encode",
            [](const Autoencoder& model, const Rows& rows, int num_threads) {
                require(rows.matrix.cols == model.shape.inputs,
                        "rows must have a column per input");
                require(num_threads >= 1, "num_threads must be at least 1");
                const py::gil_scoped_release release;
                auto codes = std::make_unique<Matrix>(rows.matrix.rows, model.code_size());
                const auto layout =
                    ColumnLayout::in_order(model.shape.inputs, rows.matrix.mean_row_nnz());
                Workspace work(model.shape, layout, rows_at_once(rows.matrix), false, false);
                encode_matrix(model, work, layout, rows.matrix, rows.transform, num_threads,
                              codes->view());
                return codes;
            },
            py::arg("rows"), py::kw_only(), py::arg("num_threads") = 1,
            "Codes (rows x last hidden layer) of uncorrupted rows.");

    module.def(
        "column_order",
        [](const Array<std::int64_t>& popularity) {
            const std::vector<std::int64_t> counts(popularity.data(),
                                                   popularity.data() + popularity.size());
            const ColumnLayout layout(counts, 1, 1);
            return py::array_t<std::int32_t>(layout.cols(), layout.internal());
        },
        py::arg("popularity"),
        "Where a trainer keeps each column, by the columns' numbers of cells.");

    py::class_<Trainer>(module, "Trainer", py::module_local(),
                        "Trains an Autoencoder, whose columns are in an order of the trainer's "
                        "own until finish(). In bfloat16 an epoch leaves its weights split, which "
                        "encode(), keep_best(), restore_best() and finish() join.")
        .def(py::init(&make_autoencoder_trainer), py::keep_alive<1, 2>(), py::arg("model"),
             py::arg("popularity"), py::arg("rows"), py::kw_only(), py::arg("optimizer"),
             py::arg("momentum"), py::arg("regularization"), py::arg("batch_size"),
             py::arg("corruption"), py::arg("corruption_level"), py::arg("dropout"),
             py::arg("seed"), py::arg("num_threads"), py::arg("hidden_regularization") = py::none(),
             py::arg("transposed") = false, py::arg("bias_regularization") = 0.0f,
             py::arg("precision") = "float32", py::arg("columns") = py::none(),
             py::arg("rounding") = py::none(), py::arg("slice_of") = py::none(),
             "If columns are split over machines, there are, for each of this one's: its number "
             "among all, by which corruption is drawn; the number by which its optimizer's state "
             "is rounded; and its slice, if sums are to be taken by slices.")
        .def(
            "run_epoch", &run_autoencoder_epoch, py::arg("rows"), py::arg("epoch"),
            py::arg("learning_rate"), py::kw_only(), py::arg("progress") = py::none(),
            py::arg("reduce") = py::none(), py::arg("filled") = py::none(),
            py::arg("predictions") = py::none(),
            "One pass over the rows: the weighted sum of squared errors on the targets' scale, and "
            "the number of cells it is over. `learning_rate` is one, or an array of one for each "
            "batch; `predictions` gets each cell's output while it was trained on. `progress` is "
            "called with the rows done before each "
            "batch; `reduce(sums, parts)` adds a block up over machines that share the columns: "
            "in place, or, by slices, from the parts of this one's.")
        .def(
            "evaluate", &bind_evaluate, py::arg("rows"), py::kw_only(), py::arg("epoch") = 0,
            py::arg("progress") = py::none(),
            "The loss over all rows with its penalty, the summed squared error, and the number of "
            "cells it is over; fills gradients() and leaves the weights as they are. The trainer's "
            "optimizer must be momentum, without corruption and dropout.")
        .def("gradients", &bind_gradients,
             "Views of the last evaluation's gradients, by the names of the model's weights and in "
             "their order of columns.")
        .def(
            "encode",
            [](Trainer& trainer, const Rows& rows, Matrix& codes, const py::object& reduce) {
                require(rows.matrix.cols == trainer.inputs(), "rows must have a column per input");
                require(codes.rows() == rows.matrix.rows && codes.cols() == trainer.code_size(),
                        "codes must have a row per row and a column per unit of the last layer");
                const auto reduction = make_reduction(reduce, trainer.by_slices());
                const py::gil_scoped_release release;
                trainer.encode_matrix(rows.matrix, rows.transform, codes.view(), reduction);
            },
            py::arg("rows"), py::arg("codes"), py::kw_only(), py::arg("reduce") = py::none(),
            "Fills codes with those of uncorrupted rows.")
        .def(
            "state", &optimizer_state<Trainer>,
            "Views of the optimizer's state, as \"encoder.weights.0\", of columns in the trainer's "
            "order. In bfloat16, that of encoder and decoder are pairs of halves.")
        .def("best", &best_weights<Trainer>,
             "Views of the weights that were kept, of columns in the trainer's order; or none.")
        .def_property_readonly("slice_errors", &Trainer::slice_errors,
                               "The squared error of the last epoch in each slice of columns.")
        .def_property("step", &Trainer::step, &Trainer::set_step, "Steps taken so far.")
        .def_property_readonly(
            "phase_seconds",
            [](const Trainer& trainer) {
                const PhaseSeconds& phases = trainer.phases();
                py::dict seconds;
                seconds["assemble"] = phases.assemble;
                seconds["encode"] = phases.encode;
                seconds["decode"] = phases.decode;
                seconds["backward"] = phases.backward;
                seconds["settle"] = phases.settle;
                return seconds;
            },
            "Seconds that the parts of all batches so far have taken.")
        .def_property_readonly(
            "column_rows",
            [](const Trainer& trainer) {
                return py::array_t<std::int32_t>(trainer.layout().cols(),
                                                 trainer.layout().internal());
            },
            "Where each column's weights are among the model's while it trains.")
        .def("keep_best", &Trainer::keep_best, "Keeps a copy of the weights.")
        .def("restore_best", &Trainer::restore_best, "Goes back to the kept copy, if there is one.")
        .def("finish", &Trainer::finish, "Gives the model its columns back in their own order.");
}

const Registration registration_of_autoencoder(&register_autoencoder);

}  // namespace

}  // namespace isthmus
