import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_of_all_keys_is_as_the_schema_has_them(tmp_path):
    page = tmp_path / "config.md"
    subprocess.run([sys.executable, ROOT / "scripts" / "write_config_page.py", page], check=True)
    text = page.read_text()
    assert "| `train.steps` | `20000` | `integer > 0` |" in text
    assert (ROOT / "docs" / "config.md").read_text() == text, "run scripts/write_config_page.py"
