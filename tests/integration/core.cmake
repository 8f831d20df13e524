list(APPEND INTEGRATION_SOURCES
  ${CMAKE_CURRENT_SOURCE_DIR}/session_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/server_node_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/workload_test.cc)
