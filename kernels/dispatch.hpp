// The dispatch paths that this machine has, the best first.
#pragma once

#include <vector>

#include "table.hpp"

namespace tacita {

const std::vector<const Table*>& tables();
const std::vector<const Cipher*>& ciphers();
const std::vector<const PointFunctions*>& point_functions();  // in the order of ciphers()

}  // namespace tacita
