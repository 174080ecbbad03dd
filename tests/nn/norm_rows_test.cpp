#include "trainer/nn/kernels/norm_rows.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

namespace largo::nn {
namespace {

// Skipped where this processor has not the instructions.
class NormRowsTest : public testing::TestWithParam<CpuIsa> {
 protected:
  void SetUp() override {
    if (!supports(GetParam())) GTEST_SKIP() << "this processor has no " << to_string(GetParam());
  }
};

INSTANTIATE_TEST_SUITE_P(Isas, NormRowsTest,
                         testing::Values(CpuIsa::kGeneric, CpuIsa::kAvx2, CpuIsa::kAvx512),
                         [](const auto& info) { return to_string(info.param); });

struct Size {
  int64_t rows, channels;
};

// One channel and one row, less and more than a wide row, several blocks, odd numbers of all.
const std::vector<Size> kSizes = {{1, 1},   {7, 1},     {9000, 1}, {1, 3},    {50, 3},
                                  {997, 5}, {6000, 16}, {33, 257}, {2, 1000}, {70, 300}};

using Values = std::vector<float>;

Values random_values(int64_t count, unsigned seed, float mean = 0, float spread = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(mean, spread);
  Values values(static_cast<size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

uint16_t narrow(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return 0x7fc0;
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
float widen(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

// Floats as a matrix of either type, and back.
class Matrix {
 public:
  Matrix(RowType type, const Values& values) : type_(type), floats_(values) {
    for (const float value : values) bfloats_.push_back(narrow(value));
    if (type == RowType::kBfloat16) floats_ = read();
  }
  void* data() {
    return type_ == RowType::kFloat ? static_cast<void*>(floats_.data()) : bfloats_.data();
  }
  Values read() const {
    if (type_ == RowType::kFloat) return floats_;
    Values values;
    for (const uint16_t bits : bfloats_) values.push_back(widen(bits));
    return values;
  }

 private:
  RowType type_;
  Values floats_;
  std::vector<uint16_t> bfloats_;
};

double error(const Values& a, const std::vector<double>& b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
}

double tolerance(RowType type) { return type == RowType::kFloat ? 2e-6 : 2.2e-3; }

// A layer and its gradient in double precision: what the kernels must compute from `line`.
struct Reference {
  std::vector<double> y, g, dx, sum_g, sum_gz;
};

Reference reference(const Size& size, const ChannelLine& line, const GradientLine& by,
                    const Values& x, const Values& residual, bool relu, const Values& dy) {
  Reference result;
  result.sum_g.resize(static_cast<size_t>(size.channels));
  result.sum_gz.resize(static_cast<size_t>(size.channels));
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t c = i % static_cast<size_t>(size.channels);
    const double z = static_cast<double>(x[i]) - line.pivot[c];
    const double before = z * line.scale[c] + line.shift[c] + (residual.empty() ? 0 : residual[i]);
    const double g = relu && before <= 0 ? 0 : dy[i];
    result.y.push_back(relu && before < 0 ? 0 : before);
    result.g.push_back(g);
    result.dx.push_back(by.of_g[c] * g + by.of_z[c] * z + by.constant[c]);
    result.sum_g[c] += g;
    result.sum_gz[c] += g * z;
  }
  return result;
}

Values as_floats(const std::vector<double>& values) { return {values.begin(), values.end()}; }

TEST_P(NormRowsTest, ComputesWhatDoublePrecisionDoes) {
  for (const Size& size : kSizes) {
    for (const RowType type : {RowType::kFloat, RowType::kBfloat16}) {
      const int64_t count = size.rows * size.channels;
      const Rows rows = {size.rows, size.channels, type, GetParam()};
      Matrix x(type, random_values(count, 1, 3)), residual(type, random_values(count, 2));
      Matrix dy(type, random_values(count, 3)), y(type, Values(static_cast<size_t>(count)));
      Matrix masked = y, dx = y;
      std::vector<Values> line_of;
      for (unsigned k = 0; k < 6; ++k) line_of.push_back(random_values(size.channels, 10 + k));
      const ChannelLine line = {line_of[0].data(), line_of[1].data(), line_of[2].data()};
      const GradientLine by = {line_of[3].data(), line_of[4].data(), line_of[5].data()};
      std::vector<double> sum_g(static_cast<size_t>(size.channels)), sum_gz(sum_g);
      for (const bool relu : {false, true}) {
        for (const bool add : {false, true}) {
          SCOPED_TRACE(testing::Message() << size.rows << "x" << size.channels << " type "
                                          << static_cast<int>(type) << relu << add);
          const Reference expected = reference(size, line, by, x.read(),
                                               add ? residual.read() : Values(), relu, dy.read());
          normalize_rows(rows, line, x.data(), add ? residual.data() : nullptr, relu, y.data());
          EXPECT_LE(error(y.read(), expected.y), tolerance(type));
          const bool from_y = relu && add;
          const RowGradient gradient = {dy.data(), relu, from_y ? y.data() : nullptr};
          gradient_sums(rows, line, x.data(), gradient, from_y ? masked.data() : nullptr,
                        sum_g.data(), sum_gz.data());
          EXPECT_LE(error(as_floats(sum_g), expected.sum_g), 2e-5);
          EXPECT_LE(error(as_floats(sum_gz), expected.sum_gz), 2e-5);
          if (from_y) {
            EXPECT_LE(error(masked.read(), expected.g), 1e-7);
          }
          input_gradient_rows(rows, line, by, x.data(),
                              {from_y ? masked.data() : dy.data(), relu && !from_y}, dx.data());
          EXPECT_LE(error(dx.read(), expected.dx), tolerance(type));
        }
      }
    }
  }
}

void expect_moments(const Rows& rows, const Values& x) {
  std::vector<double> mean(static_cast<size_t>(rows.channels)), m2(mean);
  row_moments(rows, x.data(), mean.data(), m2.data());
  for (int64_t c = 0; c < rows.channels; ++c) {
    double sum = 0, squares = 0;
    for (int64_t r = 0; r < rows.rows; ++r) sum += x[r * rows.channels + c];
    const double expected = sum / static_cast<double>(rows.rows);
    for (int64_t r = 0; r < rows.rows; ++r) {
      squares += std::pow(x[r * rows.channels + c] - expected, 2);
    }
    const double deviation = std::sqrt(squares / static_cast<double>(rows.rows));
    EXPECT_NEAR(mean[c], expected, 1e-6 * deviation + 1e-12) << "channel " << c;
    EXPECT_NEAR(m2[c], squares, 3e-6 * squares + 1e-12) << "channel " << c;
  }
}

// However far from zero, and wherever in the matrix the values change.
TEST_P(NormRowsTest, MomentsLoseNoDigits) {
  for (const Size& size : kSizes) {
    for (const float mean : {0.0F, 1e4F, -3e6F}) {
      SCOPED_TRACE(testing::Message() << size.rows << "x" << size.channels << " at " << mean);
      const Rows rows = {size.rows, size.channels, RowType::kFloat, GetParam()};
      Values x = random_values(size.rows * size.channels, 5, mean);
      expect_moments(rows, x);
      for (size_t i = x.size() / 3; i < x.size(); ++i) x[i] += 1000;  // after the first block
      expect_moments(rows, x);
      x.assign(x.size(), mean + 1);
      expect_moments(rows, x);
    }
  }
}

TEST_P(NormRowsTest, MomentsOfPartsMerge) {
  const Values x = random_values(3000, 6, 100);
  const auto moments = [&](int64_t first, int64_t rows) {
    std::vector<double> both(6);
    row_moments({rows, 3, RowType::kFloat, GetParam()}, &x[first * 3], both.data(), &both[3]);
    return both;
  };
  const auto whole = moments(0, 1000);
  std::vector<double> merged(6);
  int64_t done = 0;
  for (const int64_t rows : {0, 300, 0, 699, 1}) {
    const auto part = moments(done, rows);
    merge_moments(3, done, merged.data(), &merged[3], rows, part.data(), &part[3]);
    done += rows;
  }
  for (size_t i = 0; i < 6; ++i) EXPECT_NEAR(merged[i], whole[i], 1e-6 * std::abs(whole[i])) << i;
}

TEST_P(NormRowsTest, EqualCallsGiveEqualBits) {
  const Rows rows = {6001, 7, RowType::kFloat, GetParam()};
  const Values x = random_values(rows.rows * rows.channels, 7, 2);
  const auto bits = [&] {
    std::vector<double> both(14);
    row_moments(rows, x.data(), both.data(), &both[7]);
    return both;
  };
  const auto first = bits(), second = bits();
  EXPECT_EQ(std::memcmp(first.data(), second.data(), first.size() * sizeof(double)), 0);
}

// A NaN reaches its channel's sums and no other's; what relu cannot compare it lets through.
TEST_P(NormRowsTest, NanStays) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const Rows rows = {600, 3, RowType::kFloat, GetParam()};
  Values x = random_values(1800, 8), dy = random_values(1800, 9), y(1800), dx(1800);
  x[3 * 500 + 1] = kNan;
  std::vector<double> a(3), b(3);
  row_moments(rows, x.data(), a.data(), b.data());
  for (int c = 0; c < 3; ++c) EXPECT_EQ(std::isnan(a[c]) && std::isnan(b[c]), c == 1) << c;

  const Values zeros(3, 0), ones(3, 1);
  const ChannelLine line = {zeros.data(), ones.data(), zeros.data()};
  for (const bool add : {false, true}) {
    normalize_rows(rows, line, x.data(), add ? dy.data() : nullptr, true, y.data());
    for (size_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i == 1501) << i;
  }
  Values masked(1800);
  gradient_sums(rows, line, dy.data(), {dy.data(), true, y.data()}, masked.data(), a.data(),
                b.data());
  EXPECT_EQ(masked[1501], dy[1501]);
  input_gradient_rows(rows, line, {ones.data(), zeros.data(), zeros.data()}, x.data(),
                      {dy.data(), true}, dx.data());
  for (size_t i = 0; i < dx.size(); ++i) EXPECT_EQ(std::isnan(dx[i]), i == 1501) << i;
}

TEST_P(NormRowsTest, NothingBeyondTheEndIsWritten) {
  for (const Size& size : kSizes) {
    const auto count = static_cast<size_t>(size.rows * size.channels);
    const Values x = random_values(size.rows * size.channels, 4),
                 ones(static_cast<size_t>(size.channels), 1);
    Values y(count + 64, 77);
    normalize_rows({size.rows, size.channels, RowType::kFloat, GetParam()},
                   {ones.data(), ones.data(), ones.data()}, x.data(), nullptr, false, y.data());
    for (size_t i = count; i < y.size(); ++i)
      ASSERT_EQ(y[i], 77) << size.rows << "x" << size.channels;
  }
}

}  // namespace
}  // namespace largo::nn
