"""What the parameters mean: the docstrings of the estimators, shared parts once."""

from __future__ import annotations

import textwrap

HIDDEN_LAYER_SIZES = """\
hidden_layer_sizes : int or array-like of int, default=(64, 64)
    Units of each hidden layer; a single number is one layer, ``()`` is none."""

ACTIVATION = """\
activation : str or list of str, default='gelu'
    'identity', 'logistic', 'tanh', 'cosine' (a squasher that reaches 0 and 1), 'relu',
    'leaky_relu', 'elu', 'selu', 'softplus', 'gelu' or 'silu': one for all hidden
    layers, or one for each."""

SHARED = """\
solver : {'auto', 'sgd', 'adam', 'adamw', 'lbfgs'}, default='auto'
    'auto' is exact without hidden layer ('lbfgs', ended by Newton's method), and
    'adamw' otherwise. 'sgd' is plain gradient descent with ``momentum=0`` and
    ``batch_size='full'``. 'adamw' takes the L2 penalty as a decay beside Adam's step.
alpha : float or 'auto', default='auto'
    Penalty on the weights, not on intercepts: the objective is the weighted mean loss
    plus ``alpha / (2 sum of row weights)`` times the sum of squared weights, for every
    solver and batch size. This is Ridge's alpha, and 1 / C of LogisticRegression. It
    acts on the weights as trained, on standardised columns with ``standardize=True``.
    'auto' is 0 with early stopping and without hidden layer, else 1e-4.
l1_ratio : float, default=0.0
    Share of the penalty that is on absolute weights: of alpha, this share times their
    sum, and the rest times half the sum of squares.
batch_size : int, 'auto' or 'full', default='auto'
    Rows of a step: 'full' is all, in every step. 'auto' is 128 with early stopping,
    more from 51,200 rows on (a power of two that gives some 200 steps, at most 1024),
    and ``min(200, n_samples)`` without.
learning_rate : {'auto', 'constant', 'invscaling', 'adaptive', 'cosine', 'one_cycle'}, \
default='auto'
    How the rate changes from epoch to epoch, for every solver that takes steps.
    'invscaling' divides by (rows seen + 1) ** power_t, 'adaptive' by 5 when patience
    runs out, until 1e-6; 'cosine' and 'one_cycle' span the max_iter epochs of a call.
    'auto' is 'cosine' with early stopping, else 'constant'.
learning_rate_init : float or 'auto', default='auto'
    The rate itself; the highest one of 'one_cycle'. 'auto' is .003 with early stopping,
    else .001.
power_t : float, default=0.5
    Exponent of 'invscaling'.
max_iter : int or 'auto', default='auto'
    Most epochs (iterations of 'lbfgs'). 'auto' is 100 with early stopping, fewer from
    25,000 rows on (as one over their root, at least 10), and 200 without.
shuffle : bool, default=True
    Whether rows are put in a new order for every epoch.
random_state : int, RandomState instance or None, default=None
    Decides starts, shuffles, dropout and the rows held out, and nothing else does. A
    number gives bit-equal results on the same device, dtype and thread count. None
    draws from the operating system.
tol : float, default=1e-4
    An epoch that improves loss or score by less counts against patience; for 'lbfgs',
    the largest gradient component at which it stops.
verbose : bool or int, default=False
    Whether to print a line an epoch.
warm_start : bool, default=False
    Whether `fit` goes on from the fitted network, with the state of solver and
    generators: 10 epochs and 10 more are 20 epochs, bit for bit.
momentum : float, default=0.9
    Of 'sgd', between 0 and 1.
nesterovs_momentum : bool, default=True
    Whether momentum is Nesterov's.
early_stopping : bool or 'auto', default='auto'
    Whether to hold out `validation_fraction` of the rows (or use X_val), stop when the
    validation score no longer rises, and keep the parameters of the best epoch. 'auto'
    does with 50 rows and more, a hidden layer, and a solver that takes steps. False is
    the textbook's network: whatever else is 'auto' is then a single plain network's.
validation_fraction : float, default=0.15
    Share of rows held out; stratified by class, by whole groups where given.
scoring : 'loss', str, callable or None, default='loss'
    What early stopping watches: minus the validation loss, or a scorer (None is the
    estimator's own score).
beta_1, beta_2 : float, default=0.9 and 0.999
    Decay of the moments of 'adam' and 'adamw'.
epsilon : float, default=1e-8
    Added to the root of Adam's second moment, after its correction for bias.
n_iter_no_change : int or 'auto', default='auto'
    Patience: epochs without improvement before training stops. 'auto' is 20 with early
    stopping, else 10.
max_fun : int, default=15000
    Most evaluations of 'lbfgs'.
max_grad_norm : float or None, default=None
    Longer gradients are scaled down to this Euclidean norm.
dropout : float or 'auto', default='auto'
    Share of hidden units left out at random in every training step. 'auto' is 0.
standardize : bool, 'auto', 'standard' or 'robust', default='auto'
    How columns of numbers are scaled, by the weights of the rows trained on. True and
    'standard': to mean 0 and standard deviation 1. 'robust': to median 0 and
    interquartile range 1 (half the range where that is 0), and then softly clipped,
    ``z / sqrt(1 + (z / 3) ** 2)``, but for regressions with an identity link where
    least squares explain more without; sparse columns are scaled as by 'standard'.
    False: not at all. With either, targets of losses in their units have mean 0 and
    standard deviation 1. Sparse columns are centred without becoming dense. 'auto' is
    'robust' for dense X with early stopping, else 'standard'.
categorical_features : 'from_dtype', array-like of bool, int or str, or None, \
default='from_dtype'
    Which columns hold categories: a mask, positions or names, as in
    `HistGradientBoostingRegressor`; None is none. 'from_dtype' takes the columns of a
    DataFrame that are categories, and unlike there also those of text. Up to 32 levels
    become columns of ones and zeros; of more, beneath a hidden layer, each level has
    numbers that are learned. A level that was not trained on counts as a missing one.
linear_skip : bool or 'auto', default='auto'
    Whether inputs also reach the output directly, as a regression beside the network.
    It starts at the linear model of the fit's rows, with a penalty chosen by evidence
    (MacKay 1992), and the network beside it at zero. With early stopping on the loss
    the linear model is left only where held-out rows say so (`stays_linear_`), and
    columns that explain little enter the hidden layers more slowly (`column_paces_`).
    'auto' has one unless ``early_stopping=False``.
numeric_embedding : {'auto', 'periodic', 'piecewise_linear'} or None, default='auto'
    What every column of (dense) X becomes before it enters the first layer, beside the
    column itself: a few numbers, by weights of its own. 'periodic' makes three, of 16
    waves of frequencies drawn once (standard deviation .1 in cycles a unit);
    'piecewise_linear' four, of the column's position in 32 bins that follow its values,
    so that steps and bends are easy to learn. Weights then stay in units of the
    network. 'auto' is 'piecewise_linear' for dense X of 300 rows and more with early
    stopping, else None.
init : str, default='auto'
    'glorot', 'he' or 'lecun' with '_uniform' or '_normal', or 'orthogonal'; 'auto'
    fits the activation.
n_init : int, default=1
    Starts to train from, as one stack; the one with the lowest training loss is kept.
n_estimators : int or 'auto', default='auto'
    Networks of an ensemble, trained as one stack. They differ in their seeds and, with
    `early_stopping` and no X_val, in the rows they hold out. Predictions are means of
    the members' predictions: of means, probabilities or quantiles, not of log odds.
    Every member is a fitted estimator in `estimators_`. 'auto' is 8 with early
    stopping, from 50,000 rows on fewer, as one over their number; else 1.
device : str, default='cpu'
    'cpu', 'cuda', 'cuda:1', 'mps', or 'auto': a GPU where there is one and a step is
    worth it. Fitted state is on the CPU.
dtype : {'auto', 'bfloat16', 'float32', 'float64'}, default='auto'
    Of training: 'auto' is float64 for full batches and 'lbfgs', else float32.
    'bfloat16' is for the products of wide networks on a GPU: weights, gradients and
    what the solver keeps are float32; not for 'lbfgs'. Predictions are always
    computed in float64."""

ATTRIBUTES = """\
coefs_ : list of ndarray of shape (fan_in, fan_out)
    Weights of each layer, in the units of X and y (see `coefs_scale_`).
intercepts_ : list of ndarray of shape (fan_out,)
    Intercepts of each layer.
skip_coef_ : ndarray of shape (n_features, n_raw_outputs)
    Weights of the linear skip, if any.
coefs_scale_ : {'user', 'network'}
    'network' where several quantiles keep the targets' units outside, a
    `numeric_embedding` those of the inputs, or where the first layer's inputs are not
    the columns of X: with categories, missing values or ``standardize='robust'``.
is_categorical_ : ndarray of bool of shape (n_features,) or None
    Which columns are categories; None where none is.
loss_, best_loss_ : float
    Training loss with its penalty in the last epoch, and the lowest (None with early
    stopping).
loss_curve_ : list of float
    Training loss by epoch: the mean over the batches as they were met.
validation_scores_ : list of float or None
    Validation scores by epoch, higher being better.
best_validation_score_ : float or None
    The highest of them.
learning_rates_ : list of float
    The rate of each epoch.
gradient_norms_ : ndarray of shape (`n_iter_`, `n_layers_` - 1)
    Norm of the gradient by layer, in the last batch of each epoch, before clipping.
n_iter_, t_ : int
    Epochs, and rows seen in them.
estimators_ : list of fitted estimators
    The members, with ``n_estimators > 1``. Weights, curves and records are theirs; the
    ensemble itself has sums, means and the longest `n_iter_`.
n_features_in_, n_outputs_, n_layers_, n_parameters_ : int
    Input columns, outputs, layers with inputs and outputs, and parameters.
feature_names_in_ : ndarray of shape (n_features,)
    Names of the columns, where X had any.
out_activation_ : str
    'identity', 'exp', 'logistic' or 'softmax'.
solver_, alpha_, batch_size_, device_, dtype_ : str, float, int or None, str, str
    What was used where a parameter was 'auto'; a batch size of None is the full batch.
early_stopping_, linear_skip_, standardize_, numeric_embedding_, n_estimators_, \
dropout_, learning_rate_, learning_rate_init_, max_iter_, n_iter_no_change_
    The same for these; see the table of defaults in the guide.
stays_linear_ : bool or None
    Whether the fit stayed at the linear model that it started as; None where that was
    not asked: without linear skip, held-out rows, or with a scorer of your own.
column_paces_ : ndarray of shape (d,) or None
    How fast columns entered the hidden layers, 0 to 1, by how much of y they explain
    alone or beside another one: a column of 0 stayed in the linear skip only. All are 1
    where two networks that were trained so as well did better on held-out rows. None
    where columns have no pace: without linear skip or held-out rows, for sparse X, for
    L-BFGS, and where an earlier fit was gone on with. Means over members.
status_ : str
    'converged', 'reached max_iter', 'stopped by a callback' or 'not finite'.
fit_seconds_ : float
    Time of training, without checks of the data."""

REFERENCES = """\
Rumelhart, Hinton and Williams (1986), doi:10.1038/323533a0; Kingma and Ba (2015),
arXiv:1412.6980; Loshchilov and Hutter (2019), arXiv:1711.05101; Liu and Nocedal (1989),
doi:10.1007/BF01589116; Gorishniy, Rubachev and Babenko (2022), arXiv:2203.05556."""

REGRESSOR = """Neural network for numbers: linear regression, and what lies beyond it.

    With ``hidden_layer_sizes=()`` the network is a regression: OLS for squared error,
    Poisson or gamma regression with a log link, median or quantile regression. Every
    hidden layer is a step away from that.

    Parameters
    ----------
    {hidden_layer_sizes}
    {activation}
    loss : {'squared_error', 'absolute_error', 'huber', 'quantile', 'poisson', \
'gamma'}, default='squared_error'
        What is minimised. Squared error is half the squared residual, summed over
        outputs. 'huber' is squared up to `huber_delta` and absolute beyond. Poisson
        and gamma have a log link, so predictions are positive.
    quantile : float or list of float, default=0.5
        Level, between 0 and 1, for ``loss='quantile'``. Several increasing levels are
        fitted at once by one network with one target column: predictions have one
        column a level, and never cross.
    huber_delta : float, default=1.35
        Where 'huber' turns from squared to absolute, in standard deviations of y with
        ``standardize=True``, else in units of y.
    {shared}

    Attributes
    ----------
    {attributes}
    coef_ : ndarray of shape (n_features,) or (n_outputs, n_features)
        Coefficients of X, where the whole network is linear in it.
    intercept_ : float or ndarray of shape (n_outputs,)
        The intercept that goes with them.

    See Also
    --------
    ANNClassifier : The same for classes.
    sklearn.linear_model.LinearRegression : What it is without hidden layer.

    References
    ----------
    {references}

    Examples
    --------
    Without hidden layer it is OLS:

    >>> import numpy as np
    >>> from sklearn_ann import ANNRegressor
    >>> X = np.array([[1.0], [2.0], [3.0], [4.0]])
    >>> y = np.array([3.0, 5.0, 7.0, 9.0])
    >>> ols = ANNRegressor(hidden_layer_sizes=()).fit(X, y)
    >>> ols.coef_.round(6), round(ols.intercept_, 6)
    (array([2.]), 1.0)

    With one hidden layer it can bend:

    >>> bent = ANNRegressor(hidden_layer_sizes=8, activation="tanh", solver="lbfgs",
    ...                     random_state=0)
    >>> x = np.linspace(-2, 2, 50)[:, None]
    >>> bool(bent.fit(x, np.sin(2 * x[:, 0])).score(x, np.sin(2 * x[:, 0])) > 0.99)
    True
    """

CLASSIFIER = """Neural network for classes: logit, multinomial logit, and beyond.

    With ``hidden_layer_sizes=()`` the network is a logistic regression, multinomial
    for more than two classes, one for each label where a row may have several.

    Parameters
    ----------
    {hidden_layer_sizes}
    {activation}
    loss : {'log_loss'}, default='log_loss'
        Minus the log-likelihood of a row: binary, multinomial, or summed over labels.
    class_weight : dict, list of dict or 'balanced', default=None
        Weights of classes, multiplied into `sample_weight`; a list has one dict for
        each label of multilabel targets. 'balanced' weighs a class by
        ``n_samples / (n_classes * count)``.
    {shared}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels; for multilabel targets the numbers of their columns.
    {attributes}
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients of X in the log odds, where the whole network is linear in it.
        More than two classes have one row each, which sum to zero.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        The intercepts that go with them.

    See Also
    --------
    ANNRegressor : The same for numbers.
    sklearn.linear_model.LogisticRegression : What it is without hidden layer.

    References
    ----------
    {references}

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from sklearn_ann import ANNClassifier
    >>> X, y = make_moons(200, noise=0.1, random_state=0)
    >>> logit = ANNClassifier(hidden_layer_sizes=()).fit(X, y)
    >>> network = ANNClassifier(16, "tanh", solver="lbfgs", random_state=0).fit(X, y)
    >>> logit.score(X, y) < 0.9 < network.score(X, y)
    True
    """


def documented(text: str) -> str:
    """Fill the shared parts into a class docstring, at its indentation."""
    parts = {
        "hidden_layer_sizes": HIDDEN_LAYER_SIZES,
        "activation": ACTIVATION,
        "shared": SHARED,
        "attributes": ATTRIBUTES,
        "references": REFERENCES,
    }
    for name, part in parts.items():
        text = text.replace("    {" + name + "}", textwrap.indent(part, " " * 4))
    return text
