// Settings of the future primary that delay its promotion. They are other while the cutover is under way, and as they
// were once the new primary is open, or after an undo:
//   wal_init_zero    off: the first segment of the new timeline is created without being filled with zeros
//   restore_command  empty: a standby that leaves recovery asks the archive once more for the next segment, for a newer
//                    timeline and for its history file, and waits for each answer (StartupXLOG). From 14 on it can be
//                    changed without a restart.
// Nothing rests on them: what cannot be set costs time, and a warning.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace pgrm::agent {

struct Cutover;

// The step replica_settings, see steps.h.
std::string preview_replica_settings(Cutover& cutover);
nlohmann::json before_replica_settings(Cutover& cutover);
void recall_replica_settings(Cutover& cutover, const nlohmann::json& before);
std::string run_replica_settings(Cutover& cutover);
/// Never throws Error: the replica may be what has failed, and a setting that stays behind there harms nobody.
void undo_replica_settings(Cutover& cutover, const nlohmann::json& before);

/// On the new primary, once it is open. Throws what Node throws.
void restore_replica_settings(Cutover& cutover);

}  // namespace pgrm::agent
