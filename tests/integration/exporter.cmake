list(APPEND INTEGRATION_SOURCES
  ${CMAKE_CURRENT_SOURCE_DIR}/exporter_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/exporter_process_test.cc)
