#include "isthmus/models/biased_mf.hpp"

#include <memory>
#include <utility>

#include "cells.hpp"
#include "convert.hpp"
#include "isthmus/models/factor_sgd.hpp"
#include "isthmus/solvers/als.hpp"
#include "poll.hpp"
#include "pybind.hpp"
#include "registration.hpp"

namespace isthmus {

namespace {

std::unique_ptr<BiasedMF> make_biased_mf(index_t users, index_t items, index_t factors, float mean,
                                         float scale, std::uint64_t seed, int num_threads) {
    require(users >= 1 && items >= 1, "users and items must be at least 1");
    require(factors >= 1, "factors must be at least 1");
    require(num_threads >= 1, "num_threads must be at least 1");
    const py::gil_scoped_release release;
    return std::make_unique<BiasedMF>(users, items, factors, mean, scale, seed, num_threads);
}

py::dict biased_mf_weights(const py::object& self) {
    auto& model = self.cast<BiasedMF&>();
    py::dict arrays;
    arrays["user_factors"] = matrix_array(model.user_factors, self);
    arrays["item_factors"] = matrix_array(model.item_factors, self);
    arrays["user_bias"] = matrix_array(model.user_bias, self);
    arrays["item_bias"] = matrix_array(model.item_bias, self);
    return arrays;
}

using UserAndItem = std::pair<float, float>;

SidePenalties make_penalties(float regularization, UserAndItem bias_regularization,
                             float weighting) {
    return {{regularization, bias_regularization.first, weighting},
            {regularization, bias_regularization.second, weighting}};
}

void require_shape(const BiasedMF& model, const CsrView& by_user) {
    require(by_user.rows == model.user_factors.rows() && by_user.cols == model.item_factors.rows(),
            "the matrix must be of the model's users x items");
}

double bind_als_sweep(BiasedMF& model, const BoundCells& by_user, const BoundCells& by_item,
                      float regularization, UserAndItem bias_regularization, float weighting,
                      int num_threads, const py::object& progress) {
    require_shape(model, by_user.view);
    require(by_item.view.rows == by_user.view.cols && by_item.view.cols == by_user.view.rows &&
                by_item.view.nnz() == by_user.view.nnz(),
            "by_item must be by_user transposed");
    const auto poll = make_poll(progress);
    const py::gil_scoped_release release;
    return als_sweep(model, by_user.view, by_item.view,
                     make_penalties(regularization, bias_regularization, weighting), num_threads,
                     poll);
}

py::tuple bind_solve_rows(const BoundCells& cells, const py::array_t<float>& factors,
                          const Array<float>& bias, float mean, float regularization,
                          float bias_regularization, float weighting, int num_threads) {
    const ConstMatrixView fixed = matrix_view(factors, "factors");
    require(fixed.rows == cells.view.cols && bias.size() == fixed.rows,
            "factors and bias must have a row per column of the matrix");
    py::array_t<float> solved({cells.view.rows, fixed.cols});
    py::array_t<float> solved_bias(cells.view.rows);
    const FactorSide out{{solved.mutable_data(), cells.view.rows, fixed.cols, fixed.cols},
                         solved_bias.mutable_data()};
    {
        const py::gil_scoped_release release;
        solve_rows(cells.view, ConstFactorSide(fixed, bias.data()), mean,
                   {regularization, bias_regularization, weighting}, num_threads, {}, out);
    }
    return py::make_tuple(solved, solved_bias);
}

double run_factor_epoch(const FactorSgd& sgd, BiasedMF& model, float regularization,
                        UserAndItem bias_regularization, float weighting, float learning_rate,
                        index_t epoch, int num_threads, const py::object& progress) {
    require(sgd.users() == model.user_factors.rows() && sgd.items() == model.item_factors.rows(),
            "the model must be of the matrix's users x items");
    const auto poll = make_poll(progress);
    const py::gil_scoped_release release;
    return sgd.run_epoch(model, make_penalties(regularization, bias_regularization, weighting),
                         learning_rate, epoch, num_threads, poll);
}

py::tuple factor_order(const FactorSgd& sgd, index_t epoch) {
    const auto cells = sgd.order(epoch);
    const auto size = static_cast<py::ssize_t>(cells.size());
    py::array_t<std::int32_t> users(size), items(size);
    py::array_t<float> values(size);
    for (py::ssize_t i = 0; i < size; ++i) {
        const RatedCell& cell = cells[static_cast<std::size_t>(i)];
        users.mutable_at(i) = cell.user;
        items.mutable_at(i) = cell.item;
        values.mutable_at(i) = cell.value;
    }
    return py::make_tuple(users, items, values);
}

void register_biased_mf(py::module_& module) {
    py::class_<BiasedMF>(module, "BiasedMF", py::module_local(),
                         "r = mean + user_bias + item_bias + user_factors . item_factors; factors "
                         "start at N(0, scale^2 / k), biases at 0.")
        .def(py::init(&make_biased_mf), py::arg("users"), py::arg("items"), py::arg("factors"),
             py::kw_only(), py::arg("mean"), py::arg("scale"), py::arg("seed"),
             py::arg("num_threads") = 1)
        .def_readwrite("mean", &BiasedMF::mean, "Added to every prediction.")
        .def("weights", &biased_mf_weights,
             "NumPy views of the weights, by name; writing changes the model.")
        .def("als_sweep", &bind_als_sweep, py::arg("by_user"), py::arg("by_item"), py::kw_only(),
             py::arg("regularization"), py::arg("bias_regularization"), py::arg("weighting"),
             py::arg("num_threads"), py::arg("progress") = py::none(),
             "Solves for all users, then for all items, whose biases' penalties are a pair; the "
             "summed squared error after it. "
             "`progress` is called with the cells done, out of twice the matrix's.");

    py::register_local_exception<Singular>(module, "Singular", PyExc_ValueError);

    module.def(
        "solve_rows", &bind_solve_rows, py::arg("cells"), py::arg("factors"), py::arg("bias"),
        py::kw_only(), py::arg("mean"), py::arg("regularization"), py::arg("bias_regularization"),
        py::arg("weighting"), py::arg("num_threads"),
        "Factors (rows x k) and bias of each row, from the factors and biases of the columns: "
        "half a sweep of alternating least squares.");

    py::class_<FactorSgd>(module, "FactorSgd", py::module_local(),
                          "Stochastic gradient descent on a BiasedMF, block by block.")
        .def(py::init([](const BoundCells& by_user, std::uint64_t seed, int num_threads) {
                 const py::gil_scoped_release release;
                 return std::make_unique<FactorSgd>(by_user.view, seed, num_threads);
             }),
             py::arg("by_user"), py::kw_only(), py::arg("seed"), py::arg("num_threads") = 1)
        .def("run_epoch", &run_factor_epoch, py::arg("model"), py::kw_only(),
             py::arg("regularization"), py::arg("bias_regularization"), py::arg("weighting"),
             py::arg("learning_rate"), py::arg("epoch"), py::arg("num_threads"),
             py::arg("progress") = py::none(),
             "One pass over the cells: the summed squared error before each step.")
        .def("order", &factor_order, py::arg("epoch"),
             "Users, items and values of the cells, in an equivalent order of one by one.");
}

const Registration registration_of_biased_mf(&register_biased_mf);

}  // namespace

}  // namespace isthmus
