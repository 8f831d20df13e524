# Run by cpack on what it has packed. Its tar.gz has the user who built it as the owner, who would own /usr and /etc once root
# has unpacked it. So it is packed anew.
foreach(package IN LISTS CPACK_PACKAGE_FILES)
  if(package MATCHES "[.]tar[.]gz$")
    cmake_path(GET CPACK_TEMPORARY_INSTALL_DIRECTORY PARENT_PATH parent)
    cmake_path(GET CPACK_TEMPORARY_INSTALL_DIRECTORY FILENAME name)
    execute_process(
      COMMAND tar --create --sort=name --format=gnu --owner=root:0 --group=root:0 "--directory=${parent}"
              "--use-compress-program=gzip -9 -n" "--file=${package}" "${name}"
      COMMAND_ERROR_IS_FATAL ANY)
  endif()
endforeach()
