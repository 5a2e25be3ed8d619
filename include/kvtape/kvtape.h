// The whole library: open a dumped cache, see it, check it, replay it.
#pragma once

#include "kvtape/attention.h"
#include "kvtape/cache.h"
#include "kvtape/dtype.h"
#include "kvtape/error.h"
#include "kvtape/finding.h"
#include "kvtape/io.h"
#include "kvtape/json.h"
#include "kvtape/metadata.h"
#include "kvtape/replay.h"
#include "kvtape/sample.h"
#include "kvtape/selection.h"
#include "kvtape/tape.h"
#include "kvtape/tensor.h"
#include "kvtape/trace.h"
#include "kvtape/validate.h"
#include "kvtape/version.h"
