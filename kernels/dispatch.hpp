// The dispatch paths that this machine has, the best first.
#pragma once

#include <vector>

#include "table.hpp"

namespace tacita {

const std::vector<const Table*>& tables();
const std::vector<const Cipher*>& ciphers();

}  // namespace tacita
