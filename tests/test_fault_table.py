"""Every fault of the project's list is tested: by these tests, which exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent

# Number and fault, and below it its tests; in brackets an id of one of their parameters.
TABLE = """\
1 NaN or infinity in X
    test_faults.py::test_bad_input_in_fit[1 nan]
    test_faults.py::test_bad_input_in_fit[1 inf]
    test_faults.py::test_bad_input_in_fit[1 sparse nan]
    test_faults.py::test_bad_input_in_predict[1 nan]
2 NaN in y
    test_faults.py::test_bad_y[2 nan]
    test_faults.py::test_bad_y[2 inf]
3 pd.NA
    test_faults.py::test_bad_input_in_fit[3 pd.NA]
4 strings in X
    test_faults.py::test_bad_input_in_fit[4 strings]
    test_faults.py::test_bad_input_in_fit[4 all strings]
5 complex X
    test_faults.py::test_bad_input_in_fit[5 complex]
6 X of one or three dimensions
    test_faults.py::test_bad_input_in_fit[6 one dimension]
    test_faults.py::test_bad_input_in_fit[6 three dimensions]
7 no rows or no columns
    test_faults.py::test_bad_input_in_fit[7 no rows]
    test_faults.py::test_bad_input_in_fit[7 no columns]
8 one row
    test_faults.py::test_8_one_row_fits
9 huge X
    test_faults.py::test_9_huge_input_ends_in_a_finite_model_or_the_divergence_error
    test_faults.py::test_9_finite_weights_too_large_to_predict_with_are_divergence_too
10 constant y
    test_faults.py::test_10_constant_y_in_regression_fits
11 a single class
    test_faults.py::test_11_single_class
12 numbers for classes
    test_faults.py::test_bad_y[12 continuous]
    test_faults.py::test_bad_y[12 continuous-multioutput]
13 labels of bytes
    test_faults.py::test_13_bytes_labels
14 None among the labels, or mixed ones
    test_faults.py::test_14_none_or_mixed_labels
15 y as a column
    test_faults.py::test_15_column_y_is_ravelled_with_a_warning
16 several outputs of several classes
    test_faults.py::test_bad_y[16 multiclass-multioutput]
17 reordered columns
    test_faults.py::test_17_reordered_or_missing_columns_at_predict
18 fewer features later
    test_faults.py::test_18_other_number_of_features_later
19 any memory layout
    test_faults.py::test_19_any_memory_layout_works_and_is_left_as_it_was
20 sparse inputs
    test_faults.py::test_20_sparse_input_is_never_densified_as_a_whole
    test_faults.py::test_20_empty_rows_of_sparse_input
    test_faults.py::test_20_unsorted_and_duplicate_entries_of_sparse_input
21 more than 2**31 elements
    test_faults.py::test_21_more_elements_than_32_bits_can_count
22 sizes that are none
    test_faults.py::test_22_25_27_bad_parameters_are_named
23 no hidden layer
    test_faults.py::test_23_no_hidden_layer_is_a_linear_model
24 more weights than memory
    test_faults.py::test_24_network_larger_than_any_memory
25 numbers out of range
    test_faults.py::test_22_25_27_bad_parameters_are_named
    estimators/test_sklearn_contract.py::test_bad_parameter_gets_the_words_of_scikit_learn
26 a batch too large
    test_faults.py::test_26_batch_larger_than_the_data_is_clipped
27 unknown names
    test_faults.py::test_22_25_27_bad_parameters_are_named
    estimators/test_sklearn_contract.py::test_bad_solver_gets_the_words_of_scikit_learn_with_our_choices
28 bad weights
    test_faults.py::test_28_bad_sample_weights[zero]
    test_faults.py::test_28_bad_sample_weights[inf]
    test_faults.py::test_28_negative_sample_weights
    test_faults.py::test_28_one_side_of_the_validation_split_without_weight
29 weights of absent labels
    test_faults.py::test_29_class_weight_with_an_absent_label
    estimators/test_class_weight.py::test_bad_weights
30 a huge learning rate
    test_faults.py::test_30_huge_learning_rate
    test_faults.py::test_30_divergence_in_partial_fit_keeps_the_last_finite_weights
    training/test_trainer.py::test_divergence_keeps_the_last_finite_parameters
31 too few rows to hold some out
    test_faults.py::test_31_early_stopping_with_too_few_rows_tells_how_many
32 misuse of partial_fit
    test_faults.py::test_32_misuse_of_partial_fit
33 another network at a warm start
    test_faults.py::test_33_warm_start_with_other_classes
    test_faults.py::test_33_warm_start_with_other_layers
    test_faults.py::test_33_warm_start_with_other_features
    test_faults.py::test_33_warm_start_with_other_number_of_outputs
34 Ctrl-C
    estimators/test_interrupt.py::test_34_sigint
35 callbacks that fail or end training
    estimators/test_callbacks.py::test_35_whatever_a_callback_does_all_is_torn_down_and_the_model_consistent
    estimators/test_callbacks.py::test_callback_ends_training_by_returning_true
    estimators/test_callbacks.py::test_callbacks_are_torn_down_after_an_error
36 other processes
    test_concurrency.py::test_36_pool_of_forked_processes_after_a_fit
    test_concurrency.py::test_36_fork_in_the_middle_of_a_fit
    test_concurrency.py::test_36_backends_of_joblib_do_not_oversubscribe[loky]
37 eight threads at once
    test_concurrency.py::test_37_eight_threads_that_fit_at_once_get_what_each_gets_alone
    test_concurrency.py::test_37_eight_threads_fit_as_alone_in_every_way_to_share_a_batch
    test_concurrency.py::test_37_eight_threads_that_predict_at_once_while_others_fit
    test_concurrency.py::test_37_first_calls_of_eight_threads_at_once
    training/test_threads.py::test_fits_that_overlap_share_the_cores
38 a cache that cannot be written, or was damaged
    test_cache.py::test_read_only_install_without_home_runs_uncached_with_one_warning
    test_cache.py::test_read_only_install_keeps_it_in_the_users_directory
    test_cache.py::test_full_disk
    test_cache.py::test_file_that_may_not_grow
    test_cache.py::test_damaged_file_is_made_anew
    test_concurrency.py::test_38_eight_processes_start_cold_at_once_and_one_finds_damaged_files
39 hostile model files
    test_model_file.py::test_39_mutated_files_are_refused_within_64_mb
    test_model_file.py::test_39_every_bit_counts
    test_model_file.py::test_39_shape_that_overflows
    test_model_file.py::test_39_weights_that_are_not_finite
    test_model_file.py::test_39_duplicate_keys
    test_model_file.py::test_39_wrong_or_future_version
    test_model_file.py::test_39_renamed_pickle_is_refused_and_never_read
    test_model_file.py::test_39_nothing_is_pickled
    test_model_file.py::test_39_replacing_is_all_or_nothing
40 kill -9 in a checkpointed fit
    test_checkpoints.py::test_40_kill_9
    test_checkpoints.py::test_resumed_fit_is_exact
"""
TESTS = {
    int(number): tests.split("\n    ")[1:]
    for number, tests in re.findall(r"^(\d+) .*((?:\n    .*)*)", TABLE, re.MULTILINE)
}


@cache
def contents(path):
    """The names of a file's test functions, and all strings in it."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    return names, {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}


@pytest.mark.parametrize("number", range(1, 41))
def test_fault_is_tested(number):
    tests = TESTS[number]
    assert tests
    for test in tests:
        path, name, case = re.fullmatch(r"(.*)::(\w+)(?:\[(.*)\])?", test).groups()
        names, strings = contents(path)
        assert name in names, f"{path} has no {name}"
        assert case is None or case in strings, f"{name} has no case {case!r}"


def test_there_is_no_other_fault():
    assert list(TESTS) == list(range(1, 41))
