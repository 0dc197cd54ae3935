import math

import pytest

from dsnet.processes import each_result


@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_in_the_order_of_their_tasks(processes: int) -> None:
    assert list(each_result(abs, [-3, 2, -1], processes, "numbers")) == [3, 2, 1]


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_of_a_task_is_raised(processes: int) -> None:
    results = each_result(math.sqrt, [4, -1], processes, "numbers")
    assert next(results) == 2
    with pytest.raises(ValueError, match="math domain error"):
        next(results)
