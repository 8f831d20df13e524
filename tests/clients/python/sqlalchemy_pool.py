"""sqlalchemy_pool.py DIALECT ...: SQLAlchemy on psycopg or psycopg2."""

import sys

import sqlalchemy

import ledger

dialect = sys.argv[1]
client = f"sqlalchemy_{dialect}"


def url(pairs):
    if ledger.through_pooler:
        return f"postgresql+{dialect}://{pairs[0][0]}:{pairs[0][1]}/"
    hosts = "&".join(f"host={host}:{port}" for host, port in pairs)
    return f"postgresql+{dialect}:///?{hosts}&target_session_attrs={ledger.target}"


used, shown = ledger.servers(url)
options = {"application_name": client}
told = ""
if ledger.through_pooler and dialect == "psycopg":
    options["prepare_threshold"] = None
    told = ", connect_args={'prepare_threshold': None}"
engine = sqlalchemy.create_engine(
    used, pool_size=ledger.WORKERS, max_overflow=0, pool_pre_ping=True, connect_args=options
)
insert = sqlalchemy.text(f"insert into written (id, client) values (:id, '{client}')")
ledger.begin(f"SQLAlchemy {sqlalchemy.__version__} on {dialect}", f'create_engine("{shown}", pool_pre_ping=True{told})')


def write(written_id, sent):
    with engine.begin() as connection:
        sent()
        connection.execute(insert, {"id": written_id})


ledger.run_threads(write)
