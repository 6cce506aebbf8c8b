import jittor as jit


def ll_loss(ll_feed_dict, upper_model, lower_model, weights=0.0, **kwargs):
    penalty, classifier = upper_model(), lower_model(**kwargs)
    fit = jit.nn.cross_entropy_loss(ll_feed_dict["data"] @ classifier, ll_feed_dict["target"])
    return fit + 0.5 * (jit.exp(penalty).unsqueeze(1) * classifier**2).mean()


def ul_loss(ul_feed_dict, upper_model, lower_model, weights=0.0, **kwargs):
    classifier = lower_model(**kwargs)
    return jit.nn.cross_entropy_loss(ul_feed_dict["data"] @ classifier, ul_feed_dict["target"])


def gda_loss(ll_feed_dict, ul_feed_dict, upper_model, lower_model, weights=0.0, **kwargs):
    alpha = ll_feed_dict["alpha"]
    lower = ll_loss(ll_feed_dict, upper_model, lower_model, **kwargs)
    upper = ul_loss(ul_feed_dict, upper_model, lower_model, **kwargs)
    return alpha * lower + (1 - alpha) * upper
