"""Where downloads are kept, and that two processes do not write there at once."""

from pathlib import Path

import pytest

from devkit.cache import CacheBusy, cache_dir, exclusive


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"JAWAB_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/jawab"),
        ({"HOME": "/c"}, "/c/.cache/jawab"),
        ({"JAWAB_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/c"}, "/c/.cache/jawab"),
    ],
)
def test_our_own_variable_goes_before_the_shared_one_and_that_before_home(environ, expected):
    assert cache_dir(environ) == Path(expected)


def test_a_held_folder_is_refused_in_words_that_name_it(tmp_path):
    with (
        exclusive(tmp_path / "jars"),
        pytest.raises(CacheBusy, match=r"jars\.lock"),
        exclusive(tmp_path / "jars", patience=0.0),
    ):
        pytest.fail("two holders at once")


def test_a_folder_is_free_again_after_its_holder_failed(tmp_path):
    with pytest.raises(KeyError), exclusive(tmp_path / "jars"):
        raise KeyError
    with exclusive(tmp_path / "jars", patience=0.0):
        assert (tmp_path / "jars").is_dir()
