"""Database migrations, inside the package so that an installed Ayni can upgrade its own state."""

from pathlib import Path

import sqlalchemy as sa


def upgrade(connection: sa.Connection) -> None:
    """Bring the database behind `connection` to the newest revision, in the caller's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    # The value passes through ConfigParser, where a percent sign begins an interpolation.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
