"""`recgraph catalogue load`: product attributes."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from recgraph.cli.base import AsJson, app, report
from recgraph.cli.generations import opened_store
from recgraph.columns import Columns as C
from recgraph.config import Settings, load_settings

catalogue_app = typer.Typer(no_args_is_help=True, help="Titles and other attributes of products.")
app.add_typer(catalogue_app, name="catalogue", rich_help_panel="Events")

Column = Annotated[str | None, typer.Option(help="Column of it; unset, there is none.")]


@catalogue_app.command()
def load(
    source: Annotated[
        str,
        typer.Argument(help="complete-journey, or a CSV, JSON Lines or Parquet file of products."),
    ],
    item_column: Annotated[str, typer.Option(help="Column of the product's id.")] = C.PRODUCT_ID,
    title_column: Column = None,
    department_column: Column = None,
    brand_column: Column = None,
    category_column: Column = None,
    price_column: Column = None,
    image_column: Column = None,
    as_json: AsJson = False,
) -> None:
    """Add products to the catalogue; one that is there already is replaced.

    The next training gives items these titles; `recgraph publish` then shows them.

    The product files of the Amazon reviews are known, and need no columns.

      recgraph catalogue load products.csv --item-column sku --title-column name

      recgraph catalogue load meta_Gift_Cards.json.gz
    """
    columns = {
        C.ITEM_ID: item_column,
        C.TITLE: title_column,
        C.DEPARTMENT: department_column,
        C.BRAND: brand_column,
        C.CATEGORY: category_column,
        C.PRICE: price_column,
        C.IMAGE_URL: image_column,
    }
    named = {field: column for field, column in columns.items() if column}
    report(run_load(load_settings(), source, named), as_json=as_json, render=_render)


def run_load(settings: Settings, source: str, columns: Mapping[str, str]) -> dict[str, int]:
    """Return what loading a source did to the catalogue on disk and in the store.

    Parameters
    ----------
    source
        ``complete-journey``, or the path of a file.
    columns
        Field of `recgraph.ports.Product` -> column of the file.
    """
    from recgraph import catalogue

    products, loaded = catalogue.read_products(
        source, columns, max_id_length=settings.max_id_length
    )
    everything = catalogue.read_catalogue(settings.catalogue_path) | products
    catalogue.write_catalogue(settings.catalogue_path, everything.values())
    with opened_store(settings) as store:
        store.write_catalogue(products.values())
    return msgspec.structs.asdict(loaded) | {"products": len(everything)}


def _render(summary: Mapping[str, Any]) -> Table:
    headings = ("rows read", "loaded", "skipped: no id", "replaced by a later row", "in all")
    table = Table(*headings)
    table.add_row(*(f"{count:,}" for count in summary.values()))
    return table
