// What the shop's people and goods are called: for the seeder and for the operations.
#pragma once

#include <array>
#include <string_view>

namespace pgrm::loadgen {

inline constexpr std::array<std::string_view, 20> first_names{
    "Ada",  "Amina",  "Boris", "Chen", "Dmitri", "Edsger", "Elena", "Fatima", "Grace", "Hiro",
    "Ines", "Jamila", "Kofi",  "Lars", "Maria",  "Noor",   "Omar",  "Priya",  "Quinn", "Tim"};
inline constexpr std::array<std::string_view, 20> last_names{
    "Abebe", "Berg", "Castro", "Diaz",  "Dijkstra", "Evans", "Fischer", "Garcia", "Hopper", "Ito",
    "Khan",  "Lee",  "Moreau", "Novak", "Okafor",   "Patel", "Rossi",   "Silva",  "Wang",   "Yilmaz"};
inline constexpr std::array<std::string_view, 12> cities{"Accra", "Berlin", "Bogota",    "Busan", "Cairo",   "Dublin",
                                                         "Kyiv",  "Lima",   "Melbourne", "Oslo",  "Toronto", "Zagreb"};
inline constexpr std::array<std::string_view, 10> adjectives{"Blue",  "Compact", "Foldable", "Green",  "Heavy",
                                                             "Light", "Quiet",   "Red",      "Sturdy", "Warm"};

struct Good {
  std::string_view name, category;  // the category: one of the six that schema.sql allows
};
inline constexpr std::array goods{
    Good{"novel", "books"},      Good{"atlas", "books"},       Good{"cookbook", "books"},
    Good{"jacket", "clothing"},  Good{"scarf", "clothing"},    Good{"boots", "clothing"},
    Good{"lamp", "electronics"}, Good{"radio", "electronics"}, Good{"charger", "electronics"},
    Good{"spade", "garden"},     Good{"hose", "garden"},       Good{"bench", "garden"},
    Good{"racket", "sports"},    Good{"tent", "sports"},       Good{"helmet", "sports"},
    Good{"puzzle", "toys"},      Good{"kite", "toys"},         Good{"robot", "toys"},
};

inline constexpr std::array<std::string_view, 5> order_statuses{"pending", "paid", "shipped", "delivered", "cancelled"};

}  // namespace pgrm::loadgen
