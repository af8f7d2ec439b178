"""Linear operators on batches, with adjoints, normal operators, closed inverses where there are, and their laws."""

from fewstep.core.operators.algebra import Adjoint, Scaled, Stack, Sum
from fewstep.core.operators.base import LinearOperator
from fewstep.core.operators.cg import Solution, conjugate_gradient
from fewstep.core.operators.coils import Coils
from fewstep.core.operators.composition import Composition, compose
from fewstep.core.operators.fourier import Circulant, Fourier, blur
from fewstep.core.operators.laws import adjoint_error, linearity_error, normal_error
from fewstep.core.operators.matrix import Matrix
from fewstep.core.operators.pointwise import Diagonal, Identity
from fewstep.core.operators.pool import Downsample

__all__ = [
    "LinearOperator",
    "Identity",
    "Diagonal",
    "Matrix",
    "Fourier",
    "Circulant",
    "blur",
    "Coils",
    "Downsample",
    "Adjoint",
    "Composition",
    "Scaled",
    "Sum",
    "Stack",
    "compose",
    "conjugate_gradient",
    "Solution",
    "adjoint_error",
    "linearity_error",
    "normal_error",
]
