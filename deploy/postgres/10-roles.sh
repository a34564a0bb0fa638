#!/bin/sh
# Runs once, when the data folder is made: the role that owns the tables, that of the fleet, and that of what
# answers requests. Row-level security does not hold superusers, so none of them is one.
set -eu
: "${FAKESIEVE_OWNER_PASSWORD:?is not set}" "${FAKESIEVE_FLEET_PASSWORD:?is not set}"
: "${FAKESIEVE_APP_PASSWORD:?is not set}"
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
-- Read by psql itself, so that no password stands in a command line; :'name' quotes it.
\getenv owner_password FAKESIEVE_OWNER_PASSWORD
\getenv fleet_password FAKESIEVE_FLEET_PASSWORD
\getenv app_password FAKESIEVE_APP_PASSWORD
CREATE ROLE fakesieve_owner LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE PASSWORD :'owner_password';
CREATE ROLE fakesieve_fleet LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE PASSWORD :'fleet_password';
CREATE ROLE fakesieve_app LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE PASSWORD :'app_password';
CREATE DATABASE fakesieve OWNER fakesieve_owner TEMPLATE template0;
REVOKE CONNECT ON DATABASE fakesieve FROM PUBLIC;
GRANT CONNECT ON DATABASE fakesieve TO fakesieve_fleet, fakesieve_app;
SQL
