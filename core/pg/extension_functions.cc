#include "core/pg/extension_functions.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/base/json_text.h"
#include "core/pg/session.h"

namespace pgrm {
namespace {

// An extension lies in whatever schema its creator chose, and what else lies there may be anybody's. So a function is
// taken for the extension's own only when the catalogs say so: pg_depend makes it a member, both belong to superusers,
// and it is that very C function of that very library, which may have a name for each version of the extension. Exactly
// these types of arguments: a call with them meets no other function of the name.
constexpr Statement ask_functions{"pgrm_extension_functions", R"sql(
SELECT e.oid IS NOT NULL AS installed, f.name, coalesce(f.may, false) AS may, f."grant",
       coalesce(f.columns, '[]') AS columns
  FROM unnest($1::name[], $2::name[], $3::text[]) WITH ORDINALITY AS w (extension, function, arguments, n)
       LEFT JOIN pg_extension AS e ON e.extname = w.extension
       LEFT JOIN LATERAL (
         SELECT format('%I.%I', n.nspname, p.proname) AS name, to_json(p.proargnames) AS columns,
                format('GRANT USAGE ON SCHEMA %1$I TO %2$I; GRANT EXECUTE ON FUNCTION %3$s TO %2$I', n.nspname,
                       current_user, p.oid::regprocedure) AS "grant",
                has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE') AS may
           FROM pg_depend AS d JOIN pg_proc AS p ON p.oid = d.objid
                JOIN pg_language AS l ON l.oid = p.prolang JOIN pg_namespace AS n ON n.oid = p.pronamespace
          WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass
            AND d.refobjid = e.oid AND d.deptype = 'e'
            AND l.lanname = 'c' AND p.proname = w.function AND p.prosrc ~ ('^' || w.function || '(_[0-9_]+)?$')
            AND p.probin IN ('$libdir/' || w.extension, w.extension)
            AND array_to_string(ARRAY(SELECT format_type(t.oid, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY AS a (oid, n)
                                        JOIN pg_type AS t ON t.oid = a.oid ORDER BY a.n), ' ') = w.arguments
            AND (SELECT count(*) FROM pg_roles WHERE oid IN (e.extowner, p.proowner) AND NOT rolsuper) = 0
       ) AS f ON true
 ORDER BY w.n)sql"};

}  // namespace

std::vector<ExtensionFunction> find_extension_functions(Session& session, std::initializer_list<WantedFunction> wanted,
                                                        Duration deadline) {
  const auto array = [&wanted](std::string_view WantedFunction::*column) {
    std::string text;
    for (const WantedFunction& one : wanted) text += fmt::format("{}\"{}\"", text.empty() ? '{' : ',', one.*column);
    return text + '}';
  };
  const Rows rows = session.execute(
      ask_functions,
      {array(&WantedFunction::extension), array(&WantedFunction::name), array(&WantedFunction::arguments)}, deadline);
  std::vector<ExtensionFunction> functions;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto row = rows[i];
    functions.push_back({.installed = row.boolean("installed").value_or(false),
                         .name = row.text("name").value_or(""),
                         .may = row.boolean("may").value_or(false),
                         .grant = row.text("grant").value_or(""),
                         .columns = nlohmann::json::parse(valid_utf8(row.text("columns").value_or("[]")))});
  }
  return functions;
}

}  // namespace pgrm
