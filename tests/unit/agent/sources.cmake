list(APPEND UNIT_SOURCES
  ${CMAKE_CURRENT_SOURCE_DIR}/agent/agent_metrics_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/agent/agent_report_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/agent/checks_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/agent/cutover_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/agent/guard_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/agent/journal_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/agent/node_control_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/agent/pgbouncer_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/agent/prediction_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/agent/process_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/agent/progress_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/agent/recover_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/agent/rejoin_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/agent/screen_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/agent/state_dir_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/agent/status_view_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/agent/steps_test.cc)
