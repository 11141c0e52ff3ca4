#include <algorithm>
#include <memory>
#include <utility>

#include "column_prior.hpp"
#include "isthmus/models/rbm.hpp"
#include "isthmus/models/rbm_scoring.hpp"
#include "poll.hpp"
#include "pybind.hpp"
#include "registration.hpp"
#include "scores.hpp"

namespace isthmus {

namespace {

using Pointers = Array<std::int64_t>;
using Indices = Array<std::int32_t>;
using Levels = Array<std::uint8_t>;

// Rows of levels that hold their arrays.
struct LevelCells {
    Pointers indptr;
    Indices indices;
    Levels levels;
    LevelRows view;
    index_t n_levels;

    LevelCells(Pointers indptr_, Indices indices_, Levels levels_, index_t cols, index_t n_levels_)
        : indptr(std::move(indptr_)),
          indices(std::move(indices_)),
          levels(std::move(levels_)),
          n_levels(n_levels_) {
        const CsrView cells = csr_pattern(indptr, indices, cols);
        require(levels.size() >= indptr.data()[cells.rows], "levels must have a value per index");
        const auto* last = levels.data() + levels.size();
        require(std::all_of(levels.data(), last, [this](std::uint8_t k) { return k < n_levels; }),
                "levels must lie in [0, " + std::to_string(n_levels) + ")");
        view = {cells, levels.data()};
    }
};

std::unique_ptr<Rbm> make_rbm(index_t cols, index_t levels, index_t hidden, float deviation,
                              std::uint64_t seed, int num_threads) {
    require(cols >= 1 && hidden >= 1, "cols and hidden must be at least 1");
    require(levels >= 1 && levels <= kMaxLevels,
            "levels must lie in [1, " + std::to_string(kMaxLevels) + "]");
    const py::gil_scoped_release release;
    return std::make_unique<Rbm>(cols, levels, hidden, deviation, seed, num_threads);
}

py::dict rbm_weights(const py::object& self) {
    auto& model = self.cast<Rbm&>();
    py::dict arrays;
    arrays["weights"] = matrix_array(model.weights, self);
    arrays["visible_bias"] = matrix_array(model.visible_bias, self);
    arrays["hidden_bias"] = matrix_array(model.hidden_bias, self);
    return arrays;
}

void require_fit(const Rbm& model, const LevelCells& cells) {
    require(cells.view.cells.cols == model.cols() && cells.n_levels == model.levels(),
            "the cells must have the model's columns and levels");
}

std::unique_ptr<RbmTrainer> make_rbm_trainer(Rbm& model, std::vector<float> values, float momentum,
                                             float decay, index_t batch_size, std::uint64_t seed,
                                             int num_threads) {
    require(static_cast<index_t>(values.size()) == model.levels(),
            "values must have one for each of the model's levels");
    require(batch_size >= 1, "batch_size must be at least 1");
    require(num_threads >= 1, "num_threads must be at least 1");
    RbmOptions options{std::move(values), momentum, decay, batch_size, seed, num_threads};
    return std::make_unique<RbmTrainer>(model, std::move(options));
}

double run_rbm_epoch(RbmTrainer& trainer, const LevelCells& cells, index_t epoch, int steps,
                     float learning_rate, const py::object& progress) {
    require_fit(trainer.model(), cells);
    require(steps >= 1, "steps must be at least 1");
    const auto poll = make_poll(progress);
    const py::gil_scoped_release release;
    return trainer.run_epoch(cells.view, epoch, steps, learning_rate, poll);
}

// A machine's weights, and codes of rows; copies of the arrays.
class ExpectedScorer final : public Scores {
public:
    ExpectedScorer(const FloatArray& codes, const FloatArray& weights, const FloatArray& bias,
                   std::vector<float> values, bool queries_are_rows)
        : source_(matrix_from(codes, "codes"), matrix_from(weights, "weights"),
                  matrix_from(bias, "bias"), std::move(values), queries_are_rows) {}

    const ScoreSource& source() const override { return source_; }

private:
    ExpectedRatings source_;
};

py::tuple bind_fit_softmax(const py::array_t<float>& codes, const LevelCells& cells, double penalty,
                           const BoundPrior& prior, int num_threads) {
    const ConstMatrixView h = matrix_view(codes, "codes");
    const ColumnPrior known = prior.view(cells.n_levels, h.cols);
    require(h.rows == cells.view.cells.cols, "codes must have a row per column of the cells");
    const index_t rows = cells.view.cells.rows * cells.n_levels;
    py::array_t<float> weights_({rows, h.cols});
    py::array_t<float> bias({cells.view.cells.rows, cells.n_levels});
    const MatrixView w{weights_.mutable_data(), rows, h.cols, h.cols};
    const MatrixView b{bias.mutable_data(), cells.view.cells.rows, cells.n_levels, cells.n_levels};
    {
        const py::gil_scoped_release release;
        fit_softmax(h, cells.view.cells, cells.view.levels, cells.n_levels, penalty, known,
                    num_threads, w, b);
    }
    return py::make_tuple(weights_, bias);
}

void register_rbm(py::module_& module) {
    py::class_<LevelCells>(module, "LevelCells", py::module_local(),
                           "CSR cells whose values are levels. The arrays are held, not copied.")
        .def(py::init<Pointers, Indices, Levels, index_t, index_t>(), py::arg("indptr"),
             py::arg("indices"), py::arg("levels"), py::arg("cols"), py::arg("n_levels"));

    py::class_<Rbm>(module, "Rbm", py::module_local(),
                    "Softmax units of so many levels, one a column; binary hidden units.")
        .def(py::init(&make_rbm), py::arg("cols"), py::arg("levels"), py::arg("hidden"),
             py::kw_only(), py::arg("deviation"), py::arg("seed"), py::arg("num_threads") = 1)
        .def("weights", &rbm_weights,
             "NumPy views of the weights, by name; writing changes the model.")
        .def(
            "encode",
            [](const Rbm& model, const LevelCells& cells, int num_threads) {
                require_fit(model, cells);
                const py::gil_scoped_release release;
                auto codes = std::make_unique<Matrix>(cells.view.cells.rows, model.hidden());
                encode_rows(model, cells.view, num_threads, codes->view());
                return codes;
            },
            py::arg("cells"), py::kw_only(), py::arg("num_threads") = 1,
            "Probabilities (rows x hidden) that the hidden units are on.");

    py::class_<RbmTrainer>(module, "RbmTrainer", py::module_local(),
                           "Contrastive divergence by mini-batches of rows.")
        .def(py::init(&make_rbm_trainer), py::keep_alive<1, 2>(), py::arg("model"), py::kw_only(),
             py::arg("values"), py::arg("momentum"), py::arg("decay"), py::arg("batch_size"),
             py::arg("seed"), py::arg("num_threads"))
        .def("run_epoch", &run_rbm_epoch, py::arg("cells"), py::arg("epoch"), py::kw_only(),
             py::arg("steps"), py::arg("learning_rate"), py::arg("progress") = py::none(),
             "One pass over the rows: the summed squared error of their first reconstructions. "
             "`progress` is called with the rows done before each batch.");

    py::class_<ExpectedScorer, Scores>(
        module, "ExpectedScorer", py::module_local(),
        "score(row, column) = the mean of values, by the softmax of bias_column + "
        "weights_column . code_row; asked by rows for columns, or the other way round.")
        .def(py::init<const FloatArray&, const FloatArray&, const FloatArray&, std::vector<float>,
                      bool>(),
             py::arg("codes"), py::arg("weights"), py::arg("bias"), py::kw_only(),
             py::arg("values"), py::arg("queries_are_rows"));

    module.def(
        "fit_softmax", &bind_fit_softmax, py::arg("codes"), py::arg("cells"), py::arg("penalty"),
        py::arg("prior"), py::kw_only(), py::arg("num_threads"),
        "Weights ((columns x levels) x hidden) and bias (columns x levels) of each row of "
        "cells, by softmax regression on the codes of its indices, shrunk towards the prior's.");
}

const Registration registration_of_rbm(&register_rbm);

}  // namespace

}  // namespace isthmus
