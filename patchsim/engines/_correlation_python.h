/* What the files share that are Python's way to _correlation.h. */
#ifndef PATCHSIM_CORRELATION_PYTHON_H
#define PATCHSIM_CORRELATION_PYTHON_H

#include "../machine/_entries.h"

#include "_correlation.h"

/* The variant of that name, or NULL with an exception. */
const Variant *correlation_variant(const char *name);

/* Sets what the task says of the kernel, [terms x channels, height, width], or of several of one
 * size, if `ndim` is 4; or returns why it cannot. The task has the numbers of parts. */
const char *correlation_set_kernel(Task *t, const Py_buffer *taps, int ndim, ptrdiff_t terms);
const char *correlation_misfit_of_spectra(const Task *t, const Py_buffer *spectra,
                                          ptrdiff_t kernels);

PyObject *correlation_weighted_scores(PyObject *self, PyObject *args, PyObject *keywords);
PyObject *correlation_weighted_scratch_bytes(PyObject *self, PyObject *args, PyObject *keywords);
extern const char CORRELATION_WEIGHTED_SCORES[], CORRELATION_WEIGHTED_SCRATCH[];

#endif
