# Sets INSTALLED_ELSEWHERE where a prefix other than our own install prefix holds this package.
# The real package then wins: this one builds and installs nothing, so that two definitions of one
# message never meet in a process.

set(prefixes "$ENV{AMENT_PREFIX_PATH}:$ENV{CMAKE_PREFIX_PATH}")
string(REPLACE ":" ";" prefixes "${prefixes}")
list(APPEND prefixes ${CMAKE_PREFIX_PATH})
get_filename_component(own_prefix "${CMAKE_INSTALL_PREFIX}" REALPATH)

set(INSTALLED_ELSEWHERE FALSE)
foreach(prefix IN LISTS prefixes)
  get_filename_component(prefix "${prefix}" REALPATH)
  if(NOT prefix STREQUAL own_prefix
      AND EXISTS "${prefix}/share/ament_index/resource_index/packages/${PROJECT_NAME}")
    set(INSTALLED_ELSEWHERE TRUE)
    message(STATUS "${PROJECT_NAME}: ${prefix} has it, nothing to build here")
    # colcon installs each package, sources its setup files and hands the same options to all.
    foreach(shell bash sh zsh)
      file(WRITE "${CMAKE_CURRENT_BINARY_DIR}/local_setup.${shell}" "# left to ${prefix}\n")
      install(FILES "${CMAKE_CURRENT_BINARY_DIR}/local_setup.${shell}"
        DESTINATION "share/${PROJECT_NAME}")
    endforeach()
    set(unused "${Python3_EXECUTABLE}${BUILD_TESTING}${AMENT_CMAKE_SYMLINK_INSTALL}")
    break()
  endif()
endforeach()
